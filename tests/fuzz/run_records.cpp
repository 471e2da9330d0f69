// metrics.jsonl and samples.jsonl of a run.
#include "rl/run/run_folder.h"
#include "rl/run/run_log.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder;
  folder.put("records.jsonl", text_of(data, size));
  const auto file = folder / "records.jsonl";
  read_or_refuse([&] { read_metrics(file); });
  read_or_refuse([&] { read_samples(file); });
  read_or_refuse([&] { truncate_json_lines(file, 3); });
  return 0;
}
