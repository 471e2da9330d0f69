// PPO on a quantised base: less memory, no KL before anything was trained, exact resume.
#include <cmath>

#include "configs/experiment.h"
#include "rl/policy/roles.h"
#include "rl/ppo/critic.h"
#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

int64_t base_bytes(const RunWorkspace& work, const std::string& kind) {
  const auto loaded = load_experiment(work.recipe(), {"model.quantize=" + kind});
  return load_ppo_roles(std::get<PpoSetup>(loaded.experiment.setup)).decoder->weight_bytes();
}

TEST(QuantizedPpo, TrainsOnLessMemoryAndResumesExactly) {
  for (const char* kind : {"nf4", "int8"}) {
    const RunWorkspace work;
    EXPECT_LT(base_bytes(work, kind), 0.7 * static_cast<double>(base_bytes(work, "none"))) << kind;
    const Lines quantized = {"--set", std::string("model.quantize=") + kind,
                             "--set", "critic.learning_rate=1.0e-4",
                             "--set", "ppo.kl_horizon=10000"};
    expect_done(work.train("whole", quantized));
    const auto rows = json_lines(read_text(work / "whole/metrics.jsonl"));
    EXPECT_NEAR(rows[1]["objective/kl"].get<double>(), 0, 1e-5) << kind;
    EXPECT_GT(std::abs(rows[6]["objective/kl"].get<double>()), 1e-3) << kind;
    const auto value_loss = [&](size_t row) { return rows[row]["loss/value_avg"].get<double>(); };
    EXPECT_LT(value_loss(5) + value_loss(6), value_loss(1) + value_loss(2)) << kind;

    expect_done(work.train("parts", quantized));
    std::filesystem::remove_all(work / "parts/snapshots/step-6");
    std::filesystem::remove_all(work / "parts/adapter");
    Lines resume = quantized;
    resume.emplace_back("--resume");
    expect_done(work.train("parts", resume));
    work.expect_equal_runs("whole", "parts");
  }
}

}  // namespace
}  // namespace leash::testing
