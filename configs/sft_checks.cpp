// The rules of `task: sft`.
#include "configs/checker.h"
#include "configs/checks.h"
#include "configs/training_checks.h"

namespace leash {

void check(const SftSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  check_quantize(setup.model, checker);
  check_lora(setup.lora, checker);
  check_saving(setup.run, checker);
  check_device(setup.devices.policy, "devices.policy", checker);
  checker.require(setup.lora.task_type == TaskType::CAUSAL_LM, "lora.task_type",
                  "task: sft trains CAUSAL_LM adapters");
  checker.require(!setup.data.train.empty(), "data.train", "is missing: a JSONL file with samples");
  const TrainingContext context{.section = "sft",
                                .has_eval_file = setup.data.eval.has_value(),
                                .has_split = setup.data.eval_split > 0,
                                .shuffle = setup.data.shuffle,
                                .float16 = setup.model.dtype == DtypeChoice::float16};
  check_training(setup.sft, context, checker);
  const bool ever =
      evaluates(setup.sft, context) || (context.has_held_out() && setup.sft.eval_on_start);
  checker.no_effect_unless(ever, "sft.eval_answers", "without evaluations");
  check_fsdp(setup.run, setup.model, /*one_device=*/true, ever && setup.sft.eval_answers > 0,
             checker);
}

std::vector<std::string> warnings(const SftSetup&, const Written&) { return {}; }

}  // namespace leash
