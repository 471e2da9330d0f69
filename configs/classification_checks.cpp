// The rules of `task: classification`.
#include <fmt/format.h>

#include <set>

#include "configs/checker.h"
#include "configs/checks.h"
#include "configs/training_checks.h"

namespace leash {

void check(const ClassificationSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  (void)check_supervised(setup, TaskType::SEQ_CLS, "a JSONL file with texts and labels", checker);
  check_exports_of_head(setup.run, checker);
  check_fsdp(setup.run, setup.model, /*one_device=*/true, /*generates=*/false, checker);
  checker.require(setup.data.labels.size() != 1, "data.labels",
                  "has one class; there have to be at least two");
  std::set<std::string> different;
  for (const std::string& label : setup.data.labels) {
    checker.require(different.insert(label).second, "data.labels",
                    fmt::format("has `{}` twice", label));
  }
}

}  // namespace leash
