// Rules of the tasks that learn from judged answers beside a reference.
#pragma once

#include <string>

#include "configs/checker.h"
#include "configs/policy_checks.h"
#include "configs/training_checks.h"

namespace leash {

// `data` is what data.train has to be ("a JSONL file with pairs").
template <class Setup>
void check_beside_reference(const Setup& setup, const std::string& data, Checker& checker) {
  using Traits = TaskTraits<Setup>;
  const std::string section(Traits::name);
  (void)check_supervised(setup, TaskType::CAUSAL_LM, data, checker);
  check_fsdp(setup.run, setup.model, /*one_device=*/true,
             /*generates=*/(setup.*Traits::section).eval_answers > 0, checker);
  PolicySetup like;
  like.reference = setup.reference;
  like.lora = setup.lora;
  check_reference(like, checker);
  checker.require(setup.reference.kind != ReferenceKind::follow, "reference.kind",
                  "follow is for the tasks over sampled answers");
  for (const char* name : {"reference.mixup_alpha", "reference.sync_steps"}) {
    checker.no_effect_unless(false, name, "without reference.kind: follow");
  }
  checker.no_effect_unless(
      !(setup.*Traits::section).disable_dropout || setup.lora.lora_dropout == 0,
      "lora.lora_dropout", "with " + section + ".disable_dropout: true");
}

}  // namespace leash
