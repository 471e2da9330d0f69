// What a browser sends to the labelling page, and the files of a labelling: a request's body,
// pairs.jsonl, judgements.jsonl, a file to merge, and pairs that a person brings.
#include "experiments/label/label_folder.h"
#include "experiments/label/merge.h"
#include "experiments/label/preference_row.h"
#include "experiments/label/request.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;
using namespace leash::label;

namespace {

// What was read is written so that it reads as the same.
void read_folder(const std::filesystem::path& path) {
  std::vector<Judgement> before;
  size_t pairs = 0;
  {
    const LabelFolder folder(path);
    before = folder.judgements().all();
    pairs = folder.pairs().size();
  }
  const LabelFolder again(path);
  require(again.messages().empty(), "a mended folder is whole");
  require(again.pairs().size() == pairs, "the same pairs");
  require(again.judgements().all().size() == before.size(), "the same judgements");
  const auto merged = before.empty() ? MergedRows{} : merge_rows({path});
  require(merged.repeated == 0 && merged.replaced == 0, "each said once");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder;
  const auto files = files_of(text_of(data, size), 5);
  read_or_refuse([&] {
    const JudgeRequest said = parse_judge_request(files[0]);
    require(said.pair.size() <= 16 && said.comment.size() <= kMostComment, "within the limits");
  });
  read_or_refuse([&] { parse_undo_request(files[0]); });
  host_allowed(files[0], files[1].substr(0, 64), "box");
  std::filesystem::create_directories(folder / "labels");
  std::filesystem::remove(folder / "labels/preferences.jsonl");
  folder.put("labels/pairs.jsonl", files[1]);
  folder.put("labels/judgements.jsonl", files[2]);
  folder.put("rows.jsonl", files[3]);
  folder.put("given.jsonl", files[4]);
  read_or_refuse([&] { read_folder(folder / "labels"); });
  read_or_refuse([&] { merge_rows({folder / "rows.jsonl"}); });
  read_or_refuse([&] { read_given_pairs(folder / "given.jsonl"); });
  return 0;
}
