// metrics.jsonl and samples.jsonl of a run, and an event of TensorBoard's in a frame that is right.
#include "rl/run/run_folder.h"
#include "rl/run/run_log.h"
#include "rl/run/tensorboard_writer.h"
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
  folder.put("events.out.tfevents.0000000001.host.1.0",
             tensorboard_record(version_event(1.0)) + tensorboard_record(text_of(data, size)));
  read_or_refuse([&] { truncate_events(folder.path(), 3); });
  return 0;
}
