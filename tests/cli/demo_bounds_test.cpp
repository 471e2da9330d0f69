// experiments/demo_bounds: which promise of the demo a run breaks.
#include <cmath>
#include <functional>

#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Ended bounds(const std::filesystem::path& run) {
  const std::string script = repository("experiments/demo_bounds").string();
  return Process({"/usr/bin/env", "python3", script, run.string()}).wait();
}

// Four prompts with two answers each; `change` gets every answer of the later evaluation.
void write_evaluations(const std::filesystem::path& run,
                       const std::function<void(Json&)>& change = {}) {
  for (const int step : {0, 12}) {
    Json answers = Json::array();
    for (int i = 0; i < 8; ++i) {
      answers.push_back({{"prompt", i / 2},
                         {"text", "a"},
                         {"reward", step == 0 ? 0.5 : 1.5 + 0.1 * (i / 2)},
                         {"kl", step == 0 ? 0.0 : 7.9},
                         {"reference_nll", 20 * std::log(3.0)},
                         {"distinct_bigrams", 0.9},
                         {"num_tokens", 20},
                         {"stop", "eos"}});
      if (change && step > 0) change(answers.back());
    }
    write_text(run / "evaluations" / ("step-" + std::to_string(step) + ".json"),
               Json{{{"decoding", "greedy"}, {"answers", answers}},
                    {{"decoding", "sampled"}, {"answers", answers}}}
                   .dump());
  }
}

TEST(DemoBounds, OneLinePerBoundAndTheBrokenOneIsNamed) {
  const ScratchFolder run;
  write_evaluations(run.path());
  const Ended kept = bounds(run.path());
  expect_done(kept);
  EXPECT_EQ(lines_of(kept.out).size(), 10u);
  EXPECT_THAT(kept.out, Not(HasSubstr("BROKEN")));
  // Means of 1.0, 1.1, 1.2 and 1.3; Student's t with three degrees of freedom is 3.1824.
  EXPECT_THAT(kept.out, HasSubstr("sampled: gain excludes 0: 1.150 [0.945, 1.355]\n"));
  for (const auto& [name, change] : std::vector<std::pair<std::string, std::function<void(Json&)>>>{
           {"gain excludes 0", [](Json& a) { a["reward"] = a["prompt"] == 0 ? 3.5 : 0.6; }},
           {"exact KL at most 8 nats", [](Json& a) { a["kl"] = 8.1; }},
           {"perplexity 0.67 to 1.5 times",
            [](Json& a) { a["reference_nll"] = 20 * std::log(4.6); }},
           {"perplexity 0.67 to 1.5 times",
            [](Json& a) { a["reference_nll"] = 20 * std::log(2.0); }},
           {"distinct bigrams at least 0.8 times", [](Json& a) { a["distinct_bigrams"] = 0.7; }}}) {
    write_evaluations(run.path(), change);
    const Ended broken = bounds(run.path());
    EXPECT_EQ(broken.code, 1) << name << broken.err;
    for (const std::string& line : lines_of(broken.out)) {
      EXPECT_EQ(line.starts_with("BROKEN"), line.find(name) != std::string::npos) << line;
    }
  }
  for (const double factor : {0.69, 1.31}) {  // at the same perplexity
    write_evaluations(run.path(), [&](Json& a) {
      a["num_tokens"] = 20 * factor;
      a["reference_nll"] = 20 * factor * std::log(3.0);
    });
    const Ended broken = bounds(run.path());
    EXPECT_EQ(broken.code, 1);
    EXPECT_THAT(broken.out, HasSubstr("BROKEN step 12, greedy: length within 30 %"));
  }
}

TEST(DemoBounds, ReadsWhatARunWrites) {
  const RunWorkspace work;
  expect_done(work.train("run", {"--set", "ppo.total_episodes=8"}));
  const Ended ended = bounds(work / "run");
  EXPECT_EQ(lines_of(ended.out).size(), 10u) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("step 1, greedy: exact KL at most 8 nats: "));
}

}  // namespace
}  // namespace leash::testing
