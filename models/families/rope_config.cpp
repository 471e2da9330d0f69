// Kinds of rotary scaling, and which of their fields count.
#include "models/families/rope_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "models/notices.h"
#include "models/printable.h"

namespace leash {
namespace {

constexpr double kGlobalTheta = 1'000'000.0;  // of Gemma 3's full layers
constexpr double kLocalTheta = 10'000.0;      // of its sliding ones

// What a rope dictionary may hold; fields of another kind than its own are ignored, as in
// transformers.
constexpr std::array<std::string_view, 17> kRopeFields = {
    "rope_type",        "type",
    "rope_theta",       "partial_rotary_factor",
    "factor",           "original_max_position_embeddings",
    "attention_factor", "beta_fast",
    "beta_slow",        "mscale",
    "mscale_all_dim",   "truncate",
    "short_factor",     "long_factor",
    "low_freq_factor",  "high_freq_factor",
    "finetuned"};

void refuse_unknown_fields(const JsonFields& scaling) {
  for (const auto& [name, value] : scaling.all().items()) {
    if (value.is_null() || std::ranges::find(kRopeFields, name) != kRopeFields.end()) continue;
    scaling.fail(fmt::format("'{}' may change the rotation and is not supported", printable(name)));
  }
}

// The length that a model was trained with first: outside of the dictionary or within.
int64_t original_length(const JsonFields& scaling, std::optional<int64_t> outside,
                        int64_t otherwise) {
  constexpr const char* kKey = "original_max_position_embeddings";
  const auto inside = scaling.integer(kKey);
  if (inside && outside && *inside != *outside) {
    scaling.fail(fmt::format("{} is {} here and {} outside", kKey, *inside, *outside));
  }
  return outside.value_or(inside.value_or(otherwise));
}

void read_llama3(const JsonFields& scaling, RopeConfig& rope) {
  rope.factor = scaling.required_number("factor");
  rope.low_freq_factor = scaling.required_number("low_freq_factor");
  rope.high_freq_factor = scaling.required_number("high_freq_factor");
  if (rope.original_max_positions == 0) {
    scaling.fail("'original_max_position_embeddings' is missing");
  }
}

// YaRN (Peng et al. 2023, arXiv:2309.00071), section 3.4: how much longer texts sharpen attention.
double yarn_sharpening(double factor, double scale) {
  return factor <= 1 ? 1.0 : 0.1 * scale * std::log(factor) + 1.0;
}

void read_yarn(const JsonFields& scaling, RopeConfig& rope) {
  rope.factor = scaling.required_number("factor");
  const auto unless_zero = [&](const char* key, double otherwise) {
    const double value = scaling.number(key).value_or(0.0);
    return value == 0.0 ? otherwise : value;
  };
  rope.beta_fast = unless_zero("beta_fast", 32.0);
  rope.beta_slow = unless_zero("beta_slow", 1.0);
  rope.truncate = scaling.boolean("truncate").value_or(true);
  const double mscale = scaling.number("mscale").value_or(0.0);
  const double mscale_all = scaling.number("mscale_all_dim").value_or(0.0);
  double factor = yarn_sharpening(rope.factor, 1.0);
  if (mscale != 0 && mscale_all != 0) {
    factor = yarn_sharpening(rope.factor, mscale) / yarn_sharpening(rope.factor, mscale_all);
  }
  rope.attention_factor = scaling.number("attention_factor").value_or(factor);
}

// LongRoPE (Ding et al. 2024, arXiv:2402.13753), up to the length where the long factors begin.
void read_longrope(const JsonFields& scaling, int64_t max_positions, RopeConfig& rope) {
  const auto factors = scaling.numbers("short_factor");
  if (!factors) scaling.fail("'short_factor' is missing");
  rope.factors = *factors;
  const auto original = static_cast<double>(rope.original_max_positions);
  rope.factor = scaling.number("factor").value_or(static_cast<double>(max_positions) / original);
  const double sharpening =
      rope.factor <= 1 ? 1.0 : std::sqrt(1 + std::log(rope.factor) / std::log(original));
  rope.attention_factor = scaling.number("attention_factor").value_or(sharpening);
}

void cut_context(const JsonFields& scaling, const std::string& type, int64_t holds_up_to,
                 DecoderConfig& config) {
  config.max_positions = std::min(config.max_positions, holds_up_to);
  notice_once(
      fmt::format("{}: '{}' changes the rotation of texts longer than {}: the context ends there",
                  scaling.origin(), type, config.max_positions));
}

// `config.max_positions` is the context that the file states.
void read_scaling(const JsonFields& scaling, std::optional<int64_t> original, bool is_phi3,
                  DecoderConfig& config, RopeConfig& rope) {
  refuse_unknown_fields(scaling);
  // Older files say `type`.
  auto said = scaling.string("rope_type");
  if (!said) said = scaling.string("type");
  std::string type = said.value_or("default");
  if (is_phi3 && (type == "su" || type == "yarn")) type = "longrope";
  if (type == "default") return;
  if (is_phi3 && type != "longrope") {
    scaling.fail(fmt::format("type '{}' is not supported (default, longrope)", printable(type)));
  }
  if (type == "linear") {
    rope.scaling = RopeScaling::linear;
    rope.factor = scaling.required_number("factor");
  } else if (type == "llama3") {
    rope.scaling = RopeScaling::llama3;
    rope.original_max_positions = original_length(scaling, original, 0);
    read_llama3(scaling, rope);
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::yarn;
    rope.original_max_positions = original_length(scaling, original, config.max_positions);
    read_yarn(scaling, rope);
  } else if (type == "dynamic") {
    rope.scaling = RopeScaling::dynamic;
    rope.factor = scaling.required_number("factor");
    rope.original_max_positions =
        std::min(original_length(scaling, original, config.max_positions), config.max_positions);
    cut_context(scaling, type, rope.original_max_positions, config);
  } else if (type == "longrope") {
    rope.scaling = RopeScaling::longrope;
    rope.original_max_positions = original_length(scaling, original, config.max_positions);
    if (rope.original_max_positions <= 1) {
      scaling.fail("original_max_position_embeddings must be above 1");
    }
    read_longrope(scaling, config.max_positions, rope);
    cut_context(scaling, type, rope.original_max_positions, config);
  } else {
    scaling.fail(
        fmt::format("type '{}' is not supported (default, linear, llama3, yarn, dynamic, longrope)",
                    printable(type)));
  }
}

// The dictionary that counts, if one is there and not empty.
std::optional<JsonFields> rope_fields(const JsonFields& json) {
  std::optional<JsonFields> result;
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    auto fields = json.object(key);
    if (fields && !fields->all().empty()) result = std::move(fields);
  }
  return result;
}

bool is_by_layer_type(const JsonFields& fields) {
  return fields.has("full_attention") || fields.has("sliding_attention");
}

// Inside the dictionary, or outside under `key`. A family with a name of its own for it does not
// read the usual one, which must agree then.
double inside_or_outside(const JsonFields& json, const std::optional<JsonFields>& fields,
                         const char* usual, const char* key, double otherwise) {
  const double used = json.number(key).value_or(otherwise);
  const double other = json.number(usual).value_or(used);
  if (const auto inside = fields ? fields->number(usual) : std::nullopt) return *inside;
  if (other != used) {
    json.fail(
        fmt::format("{} is {}, but this family's class takes {} ({})", usual, other, key, used));
  }
  return used;
}

}  // namespace

void read_rope(const JsonFields& json, const RopeRules& rules, DecoderConfig& config) {
  const auto fields = rope_fields(json);
  if (fields && is_by_layer_type(*fields)) {
    fields->fail("rope parameters by type of layer are not supported for this family");
  }
  RopeConfig rope;
  rope.theta = inside_or_outside(json, fields, "rope_theta", rules.theta_key, rules.theta);
  const double partial =
      inside_or_outside(json, fields, "partial_rotary_factor", rules.partial_key, rules.partial);
  if (!(partial > 0 && partial <= 1)) {
    json.fail(
        fmt::format("{} is {}, it must be above 0 and 1 at most", rules.partial_key, partial));
  }
  if (partial != 1.0 && !rules.may_be_partial) {
    json.fail("partial_rotary_factor is not supported for this family");
  }
  rope.rotary_dim = static_cast<int64_t>(static_cast<double>(config.head_dim) * partial);
  auto original = json.integer("original_max_position_embeddings");
  if (!original) original = rules.original_max_positions;
  if (fields) read_scaling(*fields, original, rules.is_phi3, config, rope);
  config.rope = rope;
}

void read_rope_by_layer_type(const JsonFields& json, DecoderConfig& config) {
  const auto parameters = json.object("rope_parameters");
  const auto scaling = json.object("rope_scaling");
  if (parameters && scaling) json.fail("rope_parameters and rope_scaling are both there");
  if (scaling && is_by_layer_type(*scaling)) {
    scaling->fail("is by type of layer, which is what rope_parameters is for");
  }
  if (parameters && !parameters->all().empty() && !is_by_layer_type(*parameters)) {
    parameters->fail("must be by type of layer (full_attention, sliding_attention)");
  }
  const auto rope_of = [&](const std::optional<JsonFields>& fields, const char* theta_key,
                           double theta) {
    RopeConfig rope;
    rope.rotary_dim = config.head_dim;
    rope.theta = json.number(theta_key).value_or(theta);
    if (!fields) return rope;
    rope.theta = fields->number("rope_theta").value_or(rope.theta);
    if (fields->number("partial_rotary_factor").value_or(1.0) != 1.0) {
      fields->fail("partial_rotary_factor is not supported for this family");
    }
    if (!fields->boolean("truncate").value_or(true)) fields->fail("truncate must be true");
    read_scaling(*fields, std::nullopt, false, config, rope);
    return rope;
  };
  const auto by_type = [&](const char* type) {
    return parameters ? parameters->object(type) : std::optional<JsonFields>();
  };
  config.rope = rope_of(scaling ? scaling : by_type("full_attention"), "rope_theta", kGlobalTheta);
  config.local_rope = rope_of(by_type("sliding_attention"), "rope_local_base_freq", kLocalTheta);
}

}  // namespace leash
