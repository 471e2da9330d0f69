#include "tests/support/tiny_folder.h"

#include <nlohmann/json.hpp>

#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"
#include "tests/rl/byte_tokenizer.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

// Plain ChatML, one of the templates that are known by their text.
constexpr const char* kChatTemplate =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' "
    "}}{% endif %}";

nlohmann::json config_json(const TinyOptions& options) {
  nlohmann::json config = {{"architectures", {"LlamaForCausalLM"}},
                           {"model_type", "llama"},
                           {"hidden_act", "silu"},
                           {"attention_bias", options.qkv_bias},
                           {"mlp_bias", false},
                           {"hidden_size", options.hidden_size},
                           {"intermediate_size", 2 * options.hidden_size},
                           {"num_hidden_layers", options.num_layers},
                           {"num_attention_heads", options.num_heads},
                           {"num_key_value_heads", options.num_kv_heads},
                           {"head_dim", options.head_dim},
                           {"max_position_embeddings", options.max_positions},
                           {"rms_norm_eps", 1e-5},
                           {"rope_theta", 10000.0},
                           {"tie_word_embeddings", options.tie_word_embeddings},
                           {"vocab_size", options.vocab_size},
                           {"torch_dtype", "float32"},
                           {"bos_token_id", 1},
                           {"eos_token_id", 2}};
  if (options.num_labels > 0) {
    config["architectures"] = {"LlamaForSequenceClassification"};
    config["num_labels"] = options.num_labels;
    config["pad_token_id"] = 0;
  }
  return config;
}

}  // namespace

void write_tiny_folder(const std::filesystem::path& folder, const TinyOptions& options,
                       const std::function<void(NamedTensors&)>& change) {
  const Checkpoint checkpoint = tiny_checkpoint(options);
  NamedTensors tensors;
  for (const std::string& name : checkpoint.tensors->names()) {
    tensors.emplace_back(name, checkpoint.tensors->read(name, at::kFloat));
  }
  if (change) change(tensors);
  write_text(folder / "config.json", config_json(options).dump(1));
  write_text(folder / "tokenizer.json", byte_tokenizer_json());
  write_text(folder / "tokenizer_config.json",
             nlohmann::json{{"eos_token", "<|im_end|>"}, {"chat_template", kChatTemplate}}.dump(1));
  write_safetensors(folder / "model.safetensors", tensors);
}

void write_tiny_adapter(const std::filesystem::path& folder, const std::filesystem::path& model,
                        uint64_t seed, double scale) {
  const auto decoder = Decoder::load(open_checkpoint(model), at::kFloat);
  save_adapter(folder, tiny_adapter(*decoder, seed, scale), model.string(),
               base_metadata(decoder->identity()));
}

}  // namespace leash::testing
