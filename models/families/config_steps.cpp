// One step each; see the header.
#include "models/families/config_steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "models/printable.h"

namespace leash {
namespace {

constexpr int64_t kLargestSize = int64_t{1} << 24;

int64_t checked_size(const JsonFields& json, const char* key, int64_t size) {
  if (size < 1 || size > kLargestSize) {
    json.fail(fmt::format("{} is {}, it must be between 1 and {}", key, size, kLargestSize));
  }
  return size;
}

// 0: the file must say it.
int64_t size_of(const JsonFields& json, const char* key, int64_t otherwise) {
  return otherwise == 0 ? required_size(json, key) : size_or(json, key, otherwise);
}

}  // namespace

int64_t required_size(const JsonFields& json, const char* key) {
  return checked_size(json, key, json.required_integer(key));
}

int64_t size_or(const JsonFields& json, const char* key, int64_t otherwise) {
  return checked_size(json, key, json.integer(key).value_or(otherwise));
}

void read_sizes(const JsonFields& json, const SizeDefaults& defaults, DecoderConfig& config) {
  config.vocab_size = size_of(json, "vocab_size", defaults.vocab_size);
  config.hidden_size = size_of(json, "hidden_size", defaults.hidden_size);
  config.intermediate_size = size_of(json, "intermediate_size", defaults.intermediate_size);
  config.num_layers = size_of(json, "num_hidden_layers", defaults.num_layers);
  if (config.num_layers > kMaxLayers) {  // before a list of them is made
    json.fail(fmt::format("num_hidden_layers is {}, it must be between 1 and {}", config.num_layers,
                          kMaxLayers));
  }
  config.num_heads = size_of(json, "num_attention_heads", defaults.num_heads);
  const bool kv_unsaid = defaults.num_kv_heads == 0 || json.is_null("num_key_value_heads");
  config.num_kv_heads =
      size_or(json, "num_key_value_heads", kv_unsaid ? config.num_heads : defaults.num_kv_heads);
  if (defaults.head_dim != 0 && json.is_null("head_dim")) json.fail("'head_dim' is null");
  config.head_dim =
      size_or(json, "head_dim",
              defaults.head_dim == 0 ? config.hidden_size / config.num_heads : defaults.head_dim);
  config.max_positions = size_or(json, "max_position_embeddings", defaults.max_positions);
}

void set_even_heads(const JsonFields& json, DecoderConfig& config) {
  if (config.hidden_size % config.num_heads != 0) {
    json.fail(fmt::format("{} heads cannot share a hidden size of {} evenly", config.num_heads,
                          config.hidden_size));
  }
  config.head_dim = config.hidden_size / config.num_heads;
  if (json.integer("head_dim").value_or(config.head_dim) != config.head_dim) {
    json.fail(fmt::format("head_dim must be {} in this family", config.head_dim));
  }
}

int64_t spelled_size(const JsonFields& json, const char* name, const char* other,
                     int64_t otherwise) {
  const auto first = json.integer(name);
  const auto second = json.integer(other);
  if (first && second && *first != *second) {
    json.fail(
        fmt::format("{} is {} and {} is {}, which are one thing", name, *first, other, *second));
  }
  if (!first && !second) return size_of(json, name, otherwise);
  return checked_size(json, first ? name : other, first ? *first : *second);
}

Activation activation(const JsonFields& json, const char* key, const char* otherwise) {
  const std::string name = json.string(key).value_or(otherwise);
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu") return Activation::gelu;
  // Three spellings of one formula, equal up to a constant's ninth digit.
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") {
    return Activation::gelu_tanh;
  }
  if (name == "relu") return Activation::relu;
  json.fail(fmt::format(
      "{} '{}' is not supported (silu, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu)", key,
      printable(name)));
}

void require_flag(const JsonFields& json, const char* key, bool value) {
  if (json.boolean(key).value_or(value) == value) return;
  json.fail(fmt::format("{}: {} is not supported", key, !value));
}

std::optional<std::vector<bool>> sliding_layers(const JsonFields& json, int64_t num_layers) {
  const auto types = json.strings("layer_types");
  if (!types) return std::nullopt;
  if (static_cast<int64_t>(types->size()) != num_layers) {
    json.fail(fmt::format("layer_types lists {} layers of {}", types->size(), num_layers));
  }
  std::vector<bool> sliding;
  for (const std::string& type : *types) {
    if (type != "full_attention" && type != "attention" && type != "sliding_attention") {
      json.fail(
          fmt::format("layer_types: '{}' is not supported (full_attention, sliding_attention)",
                      printable(type)));
    }
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

void require_layers(const JsonFields& json, int64_t num_layers, bool sliding) {
  const auto types = sliding_layers(json, num_layers);
  if (types && std::ranges::find(*types, !sliding) != types->end()) {
    json.fail(fmt::format("layer_types: this family's class takes every layer as {}",
                          sliding ? "sliding_attention" : "full_attention"));
  }
}

std::vector<LayerFacts>& listed_layers(DecoderConfig& config) {
  if (config.layers.empty()) config.layers.resize(static_cast<size_t>(config.num_layers));
  return config.layers;
}

void set_windows(const JsonFields& json, const std::vector<bool>& sliding,
                 std::optional<int64_t> window, DecoderConfig& config) {
  if (std::ranges::find(sliding, true) == sliding.end()) return;
  if (!window) json.fail("there are sliding layers, but 'sliding_window' is missing");
  if (*window < 1) json.fail(fmt::format("sliding_window is {}, it must be positive", *window));
  if (*window >= config.max_positions) return;
  std::vector<LayerFacts>& layers = listed_layers(config);
  for (size_t i = 0; i < layers.size(); ++i) {
    if (sliding[i]) layers[i].window = *window;
  }
}

}  // namespace leash
