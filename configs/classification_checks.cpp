// The rules of `task: classification`.
#include <fmt/format.h>

#include <set>

#include "configs/checker.h"
#include "configs/checks.h"
#include "configs/training_checks.h"

namespace leash {

void check(const ClassificationSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  check_quantize(setup.model, checker);
  check_lora(setup.lora, checker);
  check_saving(setup.run, checker);
  check_fsdp(setup.run, setup.model, /*one_device=*/true, /*generates=*/false, checker);
  check_device(setup.devices.policy, "devices.policy", checker);
  checker.require(setup.lora.task_type == TaskType::SEQ_CLS, "lora.task_type",
                  "task: classification trains SEQ_CLS adapters");
  checker.require(!setup.data.train.empty(), "data.train",
                  "is missing: a JSONL file with texts and labels");
  checker.require(setup.data.labels.size() != 1, "data.labels",
                  "has one class; there have to be at least two");
  std::set<std::string> different;
  for (const std::string& label : setup.data.labels) {
    checker.require(different.insert(label).second, "data.labels",
                    fmt::format("has `{}` twice", label));
  }
  const TrainingContext context{.section = "classification",
                                .has_eval_file = setup.data.eval.has_value(),
                                .has_split = setup.data.eval_split > 0,
                                .shuffle = setup.data.shuffle,
                                .float16 = setup.model.dtype == DtypeChoice::float16};
  check_training(setup.classification, context, checker);
  const bool ever = evaluates(setup.classification, context) ||
                    (context.has_held_out() && setup.classification.eval_on_start);
  checker.no_effect_unless(ever, "classification.eval_answers", "without evaluations");
}

std::vector<std::string> warnings(const ClassificationSetup&, const Written&) { return {}; }

}  // namespace leash
