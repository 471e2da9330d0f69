// The rules of `task: reward`.
#include "configs/checker.h"
#include "configs/checks.h"
#include "configs/training_checks.h"

namespace leash {

void check(const RewardSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  (void)check_supervised(setup, TaskType::SEQ_CLS, "a JSONL file with pairs", checker);
  check_exports_of_head(setup.run, checker);
  check_fsdp(setup.run, setup.model, /*one_device=*/true, /*generates=*/false, checker);
  checker.no_effect_unless(!setup.reward.disable_dropout || setup.lora.lora_dropout == 0,
                           "lora.lora_dropout", "with reward.disable_dropout: true");
}

}  // namespace leash
