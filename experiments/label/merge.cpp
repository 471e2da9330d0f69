#include "experiments/label/merge.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "experiments/label/preference_row.h"
#include "rl/data/jsonl.h"

namespace leash::label {
namespace {

namespace fs = std::filesystem;

struct Row {
  Json json;
  JudgedRow judged;
};

}  // namespace

MergedRows merge_rows(const std::vector<fs::path>& sources) {
  MergedRows merged;
  std::map<std::pair<std::string, std::string>, Row> newest;  // by person and pair
  for (const fs::path& source : sources) {
    const fs::path file = fs::is_directory(source) ? source / "preferences.jsonl" : source;
    for_each_json_line(
        file,
        {{"prompt", "chosen", "rejected", "tools", "chat_template_kwargs", "tie", "both_bad",
          "judgement"}},
        [&](const Json& json, int64_t) {
          Row row{json, judged_row(json)};
          const auto key = std::pair(row.judged.judgement.user, row.judged.pair.id);
          const auto [place, fresh] = newest.try_emplace(key, row);
          if (fresh) return;
          const bool same = place->second.json == row.json;
          ++(same ? merged.repeated : merged.replaced);
          if (!same && place->second.judged.judgement.time <= row.judged.judgement.time) {
            place->second = std::move(row);
          }
        });
  }
  std::vector<Row> rows;
  for (auto& [key, row] : newest) rows.push_back(std::move(row));
  std::ranges::stable_sort(rows, {}, [](const Row& row) { return row.judged.judgement.time; });
  for (Row& row : rows) {
    merged.rows.push_back(std::move(row.json));
    merged.pairs.push_back(std::move(row.judged.pair));
    merged.judgements.push_back(std::move(row.judged.judgement));
  }
  return merged;
}

}  // namespace leash::label
