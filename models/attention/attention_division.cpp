#include "models/attention/attention_division.h"

#include <algorithm>
#include <map>

namespace leash {
namespace {

using attention_tiles::pieces_of;

constexpr int64_t kRowsOfPart = 256;  // a longer sequence is split
constexpr int64_t kMostParts = 8;     // into as many parts at most

}  // namespace

Division divide(const std::vector<SequenceRows>& places, const AttentionSource& source) {
  std::map<int64_t, size_t> by_begin;
  std::vector<std::vector<int64_t>> begins;
  std::vector<int64_t> adding(places.size(), 0);
  for (size_t i = 0; i < places.size(); ++i) {
    const SequenceRows& place = places[i];
    if (place.rows > 0) by_begin[place.begin] = i;
    begins.push_back(split_rows(
        place, source.window, std::min(kMostParts, pieces_of(place.rows, kRowsOfPart)), kQueries));
    const auto parts = static_cast<int64_t>(begins.back().size()) - 1;
    adding[i] += parts;
    if (place.prefix_rows > 0) adding[by_begin.at(place.prefix_begin)] += parts;
  }
  Division result;
  result.sums.parts.resize(places.size());
  const auto share = [&](size_t sequence, int64_t rows) {
    const SharedSums::Part part{.offset = result.sums.size, .rows = padded(rows)};
    result.sums.parts[sequence].push_back(part);
    result.sums.size += source.kv_heads * 2 * part.rows * source.head_dim;
    return part;
  };
  for (size_t i = 0; i < places.size(); ++i) {
    const SequenceRows& place = places[i];
    if (place.rows == 0) continue;
    for (size_t part = 0; part + 1 < begins[i].size(); ++part) {
      SharedSums::Part own{.offset = -1}, prefix{.offset = -1};
      if (adding[i] > 1) own = share(i, begins[i][part + 1]);
      if (place.prefix_rows > 0) prefix = share(by_begin.at(place.prefix_begin), place.prefix_rows);
      for (int64_t kv_head = 0; kv_head < source.kv_heads; ++kv_head) {
        const auto of_head = [&](const SharedSums::Part& sums) {
          return sums.offset < 0 ? -1 : sums.offset + kv_head * 2 * sums.rows * source.head_dim;
        };
        result.units.push_back({{.place = place,
                                 .kv_head = kv_head,
                                 .begin = begins[i][part],
                                 .end = begins[i][part + 1],
                                 .window = source.window},
                                of_head(own),
                                of_head(prefix)});
      }
    }
  }
  return result;
}

}  // namespace leash
