#include "models/attention/sequence_rows.h"

#include <ATen/OpMathType.h>
#include <ATen/ops/cat.h>

#include <algorithm>

namespace leash {

std::vector<SequenceRows> packed_rows(const std::vector<int64_t>& lengths,
                                      const std::vector<int64_t>& prefixes) {
  TORCH_CHECK(prefixes.empty() || prefixes.size() == lengths.size(),
              "packed_attention: a prefix (or -1) for each sequence");
  std::vector<SequenceRows> places;
  int64_t row = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    SequenceRows place{.begin = row, .rows = lengths[i]};
    if (!prefixes.empty() && prefixes[i] >= 0) {
      TORCH_CHECK(prefixes[i] < static_cast<int64_t>(i) && prefixes[prefixes[i]] < 0,
                  "packed_attention: sequence ", i, " cannot continue sequence ", prefixes[i]);
      place.prefix_begin = places[prefixes[i]].begin;
      place.prefix_rows = places[prefixes[i]].rows;
    }
    places.push_back(place);
    row += lengths[i];
  }
  return places;
}

int64_t longest_seen(const std::vector<SequenceRows>& places) {
  int64_t longest = 0;
  for (const SequenceRows& place : places) longest = std::max(longest, place.seen());
  return longest;
}

at::Tensor seen_by(const at::Tensor& x, const SequenceRows& place) {
  const at::Tensor own = x.narrow(0, place.begin, place.rows);
  if (place.prefix_rows == 0) return own;
  return at::cat({x.narrow(0, place.prefix_begin, place.prefix_rows), own});
}

at::Tensor seen_by(const at::Tensor& x, const SequenceRows& place,
                   std::map<int64_t, at::Tensor>& shared) {
  const at::Tensor own = x.narrow(0, place.begin, place.rows);
  if (place.prefix_rows == 0) return own;
  const auto [entry, fresh] = shared.try_emplace(place.prefix_begin);
  if (fresh) {
    entry->second =
        x.narrow(0, place.prefix_begin, place.prefix_rows).to(at::toOpMathType(x.scalar_type()));
  }
  return at::cat({entry->second.to(x.scalar_type()), own});
}

}  // namespace leash
