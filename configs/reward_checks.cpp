// The rules of `task: reward`.
#include "configs/checker.h"
#include "configs/checks.h"
#include "configs/training_checks.h"

namespace leash {

void check(const RewardSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  check_quantize(setup.model, checker);
  check_lora(setup.lora, checker);
  check_saving(setup.run, checker);
  check_fsdp(setup.run, setup.model, /*one_device=*/true, /*generates=*/false, checker);
  check_device(setup.devices.policy, "devices.policy", checker);
  checker.require(setup.lora.task_type == TaskType::SEQ_CLS, "lora.task_type",
                  "task: reward trains SEQ_CLS adapters");
  checker.no_effect_unless(!setup.reward.disable_dropout || setup.lora.lora_dropout == 0,
                           "lora.lora_dropout", "with reward.disable_dropout: true");
  checker.require(!setup.data.train.empty(), "data.train", "is missing: a JSONL file with pairs");
  const TrainingContext context{.section = "reward",
                                .has_eval_file = setup.data.eval.has_value(),
                                .has_split = setup.data.eval_split > 0,
                                .shuffle = setup.data.shuffle,
                                .float16 = setup.model.dtype == DtypeChoice::float16};
  check_training(setup.reward, context, checker);
  const bool ever =
      evaluates(setup.reward, context) || (context.has_held_out() && setup.reward.eval_on_start);
  checker.no_effect_unless(ever, "reward.eval_answers", "without evaluations");
}

std::vector<std::string> warnings(const RewardSetup&, const Written&) { return {}; }

}  // namespace leash
