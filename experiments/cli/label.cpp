// leash label: people judge pairs of answers.
#include <fmt/format.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <set>
#include <thread>

#include "experiments/cli/app.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/label_options.h"
#include "experiments/cli/options.h"
#include "experiments/cli/output.h"
#include "experiments/cli/recipe.h"
#include "experiments/label/label_recipe.h"
#include "experiments/label/merge.h"
#include "experiments/label/ranker.h"
#include "experiments/label/request.h"
#include "experiments/label/rule_judge.h"
#include "experiments/label/sampler.h"
#include "experiments/label/server.h"
#include "experiments/label/session.h"
#include "experiments/label/summary.h"
#include "experiments/label/terminal.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/io/posix_file.h"
#include "models/printable.h"

namespace leash::cli {
namespace {

namespace fs = std::filesystem;

// The first signal ends labelling in order, a second one at once: everything is on disk anyway.
std::atomic<bool> g_label_ended{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void end_labelling(int) {
  if (g_label_ended.exchange(true)) _exit(kInterrupted);
}

// Restores what was there before.
class LabelSignals {
 public:
  LabelSignals() {
    for (size_t i = 0; i < 3; ++i) before_[i] = std::signal(kSignals[i], end_labelling);
    if (before_[2] == SIG_IGN) std::signal(SIGHUP, SIG_IGN);  // nohup
  }
  ~LabelSignals() {
    for (size_t i = 0; i < 3; ++i) std::signal(kSignals[i], before_[i]);
  }
  LabelSignals(const LabelSignals&) = delete;
  LabelSignals& operator=(const LabelSignals&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  void (*before_[3])(int) = {};
};

std::string lines_of_rows(const std::vector<label::Json>& rows) {
  std::string text;
  for (const label::Json& row : rows) {
    text += row.dump(-1, ' ', false, label::Json::error_handler_t::replace) + "\n";
  }
  return text;
}

// A file that is read must not be the one that is written.
void check_merge_target(const LabelOptions& options) {
  for (const std::string& source : options.merge) {
    const fs::path file =
        fs::is_directory(source) ? fs::path(source) / "preferences.jsonl" : fs::path(source);
    std::error_code missing;
    if (options.out && fs::equivalent(file, *options.out, missing)) {
      throw ConfigError(fmt::format("--out {} is one of the files to merge", *options.out));
    }
  }
}

int merge_labels(const LabelOptions& options) {
  check_merge_target(options);
  const label::MergedRows merged = label::merge_rows({options.merge.begin(), options.merge.end()});
  std::vector<label::Judged> judged;
  for (size_t i = 0; i < merged.rows.size(); ++i) {
    judged.push_back({&merged.pairs[i], &merged.judgements[i]});
  }
  const label::LabelSummary summary = label::summarise(judged, options.seed.value_or(0));
  std::string text = fmt::format("{} rows", merged.rows.size());
  if (merged.repeated > 0) text += fmt::format("; {} stood in several files", merged.repeated);
  if (merged.replaced > 0) text += fmt::format("; {} were judged again later", merged.replaced);
  text += "\n" + label::summary_text(summary);
  if (options.out) {
    replace_file(*options.out, lines_of_rows(merged.rows));
  } else if (!options.json) {
    std::cout << lines_of_rows(merged.rows);
  }
  if (options.json) {
    print_json_line(label::summary_json(summary));
  } else {
    (options.out ? std::cout : std::cerr) << printable_lines(text);
  }
  return kDone;
}

// The adapters of the answers: those that are named, else the recipe's own, else none; each at
// each temperature.
std::vector<label::AnswerSource> sources_of(const LabelOptions& options,
                                            const label::LabelRecipe& recipe) {
  std::vector<label::AnswerSource> adapters = options.adapters;
  if (adapters.empty() && recipe.adapter) adapters.push_back({"start", *recipe.adapter, 1.0});
  if (adapters.empty()) adapters.push_back({"base", std::nullopt, 1.0});
  std::vector<double> temperatures = options.temperatures;
  if (temperatures.empty()) temperatures.push_back(recipe.rollout.temperature);
  std::vector<label::AnswerSource> sources;
  for (const label::AnswerSource& adapter : adapters) {
    for (const double temperature : temperatures) {
      sources.push_back({adapter.name, adapter.path, temperature});
    }
  }
  return sources;
}

// All that runs beside the people: it ends when the session does.
class Helpers {
 public:
  explicit Helpers(label::LabelSession& session) : session_(session) {}
  ~Helpers() {
    session_.stop();
    for (std::thread& thread : threads_) thread.join();
  }
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;

  template <class Work>
  void start(Work work) {
    threads_.emplace_back(std::move(work));
  }

 private:
  label::LabelSession& session_;
  std::vector<std::thread> threads_;
};

int serve_pages(label::LabelSession& session, const LabelOptions& options, uint64_t seed) {
  std::map<std::string, std::string> tokens;
  for (const std::string& user : options.users) tokens[label::make_token()] = user;
  label::LabelServer server(
      session, {.host = options.host, .port = options.port, .tokens = tokens, .seed = seed});
  const LabelSignals signals;
  server.start();
  for (const std::string& user : options.users) {
    std::cout << fmt::format("{}: {}\n", user, server.address(user));
  }
  std::cout << std::flush;
  std::cerr << "Each address is one person's own: whoever has it judges in their name. Ctrl-C "
               "ends; every judgement is on disk.\n";
  bool failed = false;
  while (!session.over() && !g_label_ended) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (failed || session.failure().empty()) continue;
    failed = true;  // what is there can still be judged
    std::cerr << "leash: error: sampling failed: " << printable_lines(session.failure()) << "\n";
  }
  session.stop();
  server.stop();
  return g_label_ended ? kInterrupted : failed ? kRunFailed : kDone;
}

int with_people(label::LabelSession& session, const LabelOptions& options,
                const label::LabelRecipe& recipe, uint64_t seed) {
  if (options.terminal) {
    LineReader lines = LineReader::standard_input();
    label::label_on_terminal(session, options.users.front(), lines, std::cout, seed);
    return kDone;
  }
  if (options.rule) {
    label::judge_by_rule(session, options.users.front(),
                         {.rule = recipe.reward, .noise = options.judge_noise, .seed = seed});
    return kDone;
  }
  return serve_pages(session, options, seed);
}

std::vector<label::LabelPair> given_pairs(const std::string& file) {
  label::GivenPairs given = label::read_given_pairs(file);
  if (given.equal > 0)
    std::cerr << fmt::format("{} pairs of equal answers left out\n", given.equal);
  if (given.repeated > 0) std::cerr << fmt::format("{} repeated pairs left out\n", given.repeated);
  return std::move(given.pairs);
}

label::RankerOptions ranker_options(const LabelOptions& options, const fs::path& folder) {
  const LoadedExperiment loaded = load_experiment(*options.reward_recipe);
  const auto* setup = std::get_if<RewardSetup>(&loaded.experiment.setup);
  if (setup == nullptr) {
    throw ConfigError(
        fmt::format("--reward {}: has to be a recipe with task: reward", *options.reward_recipe));
  }
  return {.recipe = *setup, .every = options.retrain, .folder = folder / "reward"};
}

// What everybody shares: the folder, who makes pairs, who orders them.
int label_pairs(const LabelOptions& options, const label::LabelRecipe& recipe) {
  const uint64_t seed = options.seed.value_or(static_cast<uint64_t>(recipe.run.seed));
  set_threads(recipe.run.threads);
  label::LabelFolder folder(*options.out);
  for (const std::string& message : folder.messages()) {
    std::cerr << "leash: warning: " << printable_lines(message) << "\n";
  }
  std::optional<label::RankerOptions> ranking;
  if (options.uncertain) ranking = ranker_options(options, folder.path());
  std::optional<label::AnswerSampler> sampler;
  if (options.pairs) {
    folder.settle({{"answers", "given"}});
    folder.add(given_pairs(*options.pairs));
  } else {
    sampler.emplace(
        recipe, options.prompts ? fs::path(*options.prompts) : *recipe.prompts,
        label::SamplerOptions{.sources = sources_of(options, recipe),
                              .answers = options.answers_of(sources_of(options, recipe).size()),
                              .most = options.count,
                              .ahead = options.ahead.value_or(options.uncertain ? 64 : 4),
                              .seed = seed});
    folder.settle(sampler->settings());
  }
  label::LabelSession session(
      folder,
      {.users = options.users, .seed = seed, .shared = options.shared, .most = options.count});
  if (sampler) sampler->begin(folder.pairs(), session);
  int code = kDone;
  {
    Helpers helpers(session);
    if (sampler) helpers.start([&] { sampler->run(session); });
    if (ranking) helpers.start([&] { label::rank_by_uncertainty(session, *ranking); });
    code = with_people(session, options, recipe, seed);
  }
  std::cout << printable_lines(label::summary_text(label::summarise_state(session.state(), seed)))
            << "preferences: " << folder.preferences_file().string() << "\n";
  return code;
}

void check_recipe(const LabelOptions& options, const label::LabelRecipe& recipe) {
  if (!options.pairs && !options.prompts && !recipe.prompts) {
    throw ConfigError(
        "the recipe's data.train holds no prompts: name them by --prompts, or answers by --pairs");
  }
  if (options.rule) {
    label::check_rule({.rule = recipe.reward, .noise = options.judge_noise, .seed = 0});
  }
}

}  // namespace

int label_command(const Arguments& args) {
  const auto values = parse_options(kLabelHelp, label_options(), {"recipe"}, args);
  if (!values) return kDone;
  LabelOptions options = read_label_options(*values);
  if (!options.merge.empty()) return merge_labels(options);
  label::LabelRecipe recipe;
  if (values->count("recipe") != 0) {
    recipe = label::label_recipe(load_recipe(*values));
    if (options.max_new_tokens) recipe.rollout.response_length = *options.max_new_tokens;
  }
  check_recipe(options, recipe);
  return label_pairs(options, recipe);
}

}  // namespace leash::cli
