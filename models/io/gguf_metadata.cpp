#include "models/io/gguf_metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "models/printable.h"

namespace leash {
namespace {

// Keys that describe and change no number.
constexpr std::array<std::string_view, 2> kDescribing = {"rope.scaling.finetuned",
                                                         "tensor_data_layout"};

// Keys that are allowed while they change nothing.
constexpr std::array<std::pair<std::string_view, double>, 13> kNeutral = {
    {{"expert_count", 0},
     {"expert_used_count", 0},
     {"use_parallel_residual", 0},
     {"attention.clamp_kqv", 0},
     {"attention.max_alibi_bias", 0},
     {"attention.sliding_window", 0},
     {"attn_logit_softcapping", 0},
     {"final_logit_softcapping", 0},
     {"attention.causal", 1},
     {"rope.scaling.attn_factor", 1},
     {"rope.scaling.yarn_ext_factor", 1},
     {"rope.scaling.yarn_beta_fast", 32},
     {"rope.scaling.yarn_beta_slow", 1}}};

}  // namespace

GgufMetadata::GgufMetadata(const GgufFile& file, std::string_view architecture)
    : file_(file), prefix_(std::string(architecture) + ".") {}

std::string GgufMetadata::key(std::string_view name) const {
  read_.emplace(name);
  return prefix_ + std::string(name);
}

void GgufMetadata::missing(std::string_view name) const {
  file_.fail(fmt::format("metadata '{}{}' is missing", prefix_, name));
}

std::optional<int64_t> GgufMetadata::integer(std::string_view name) const {
  return file_.int_value(key(name));
}

std::optional<double> GgufMetadata::number(std::string_view name) const {
  return file_.float_value(key(name));
}

std::optional<std::string> GgufMetadata::text(std::string_view name) const {
  return file_.string_value(key(name));
}

std::optional<std::vector<int64_t>> GgufMetadata::integers(std::string_view name) const {
  const std::string whole = key(name);
  if (file_.array_size(whole)) return file_.ints(whole);
  const auto value = file_.int_value(whole);
  if (!value) return std::nullopt;
  return std::vector<int64_t>{*value};
}

int64_t GgufMetadata::required(std::string_view name) const {
  const auto value = integer(name);
  if (!value) missing(name);
  return *value;
}

double GgufMetadata::required_number(std::string_view name) const {
  const auto value = number(name);
  if (!value) missing(name);
  return *value;
}

void GgufMetadata::refuse_what_was_not_read() const {
  for (const std::string& whole : file_.metadata_keys()) {
    if (!whole.starts_with(prefix_)) continue;
    const std::string_view name = std::string_view(whole).substr(prefix_.size());
    if (read_.contains(name) || std::ranges::find(kDescribing, name) != kDescribing.end()) continue;
    const bool neutral = std::ranges::any_of(kNeutral, [&](const auto& row) {
      return row.first == name && file_.float_value(whole) == row.second;
    });
    if (!neutral) {
      file_.fail(fmt::format("metadata '{}' may change the computation and is not supported",
                             printable(whole)));
    }
  }
}

}  // namespace leash
