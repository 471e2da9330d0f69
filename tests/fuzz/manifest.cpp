// MANIFEST.json of a snapshot, beside the files of a run.
#include "models/io/snapshot.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

namespace {

InputFolder run_folder() {
  InputFolder folder;
  std::filesystem::create_directories(folder / "snapshots/step-3/more");
  folder.put("snapshots/step-3/state.json", "{}\n");
  folder.put("snapshots/step-3/more/x", "123456789");
  return folder;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder = run_folder();
  folder.put("snapshots/step-3/MANIFEST.json", text_of(data, size));
  read_or_refuse([&] { find_newest_snapshot(folder.path()); });
  return 0;
}
