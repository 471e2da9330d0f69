// The rules of `task: sft`.
#include "configs/checker.h"
#include "configs/checks.h"
#include "configs/training_checks.h"

namespace leash {

void check(const SftSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  const bool ever =
      check_supervised(setup, TaskType::CAUSAL_LM, "a JSONL file with samples", checker);
  check_fsdp(setup.run, setup.model, /*one_device=*/true, ever && setup.sft.eval_answers > 0,
             checker);
}

}  // namespace leash
