// The known ones: what describes a file, how it was trained, how transformers ran or sampled it,
// and what only classes other than a decoder's read.
#include "models/families/ignored_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "models/notices.h"
#include "models/printable.h"

namespace leash {
namespace {

constexpr std::array<std::string_view, 108> kHarmless = {"_attn_implementation",
                                                         "_attn_implementation_autoset",
                                                         "_attn_implementation_internal",
                                                         "_commit_hash",
                                                         "_experts_implementation_internal",
                                                         "_flash_attn_2_enabled",
                                                         "_flash_attn_enabled",
                                                         "_name_or_path",
                                                         "architectures",
                                                         "attention_softmax_in_fp32",
                                                         "attn_implementation",
                                                         "auto_map",
                                                         "bad_words_ids",
                                                         "base_model_tp_plan",
                                                         "begin_suppress_tokens",
                                                         "bias_dropout_fusion",
                                                         "boi_token_id",
                                                         "boi_token_index",
                                                         "bos_token_id",
                                                         "cache_implementation",
                                                         "chunk_size_feed_forward",
                                                         "classifier_bias",
                                                         "classifier_dropout",
                                                         "cross_attention_hidden_size",
                                                         "decoder_start_token_id",
                                                         "diversity_penalty",
                                                         "do_sample",
                                                         "dtype",
                                                         "early_stopping",
                                                         "encoder_no_repeat_ngram_size",
                                                         "eoi_token_id",
                                                         "eoi_token_index",
                                                         "eos_token_id",
                                                         "exponential_decay_length_penalty",
                                                         "finetuning_task",
                                                         "forced_bos_token_id",
                                                         "forced_eos_token_id",
                                                         "gradient_checkpointing",
                                                         "id2label",
                                                         "image_token_id",
                                                         "image_token_index",
                                                         "init_method",
                                                         "init_std",
                                                         "initializer_range",
                                                         "is_decoder",
                                                         "is_llama_config",
                                                         "label2id",
                                                         "length_penalty",
                                                         "masked_softmax_fusion",
                                                         "max_length",
                                                         "max_new_tokens",
                                                         "max_window_layers",
                                                         "min_length",
                                                         "mm_tokens_per_image",
                                                         "model_name",
                                                         "model_type",
                                                         "n_ctx",
                                                         "name_or_path",
                                                         "no_repeat_ngram_size",
                                                         "num_beam_groups",
                                                         "num_beams",
                                                         "num_labels",
                                                         "num_return_sequences",
                                                         "offset_alibi",
                                                         "output_attentions",
                                                         "output_hidden_states",
                                                         "output_scores",
                                                         "pad_token_id",
                                                         "prefix",
                                                         "pretraining_tp",
                                                         "problem_type",
                                                         "remove_invalid_values",
                                                         "repetition_penalty",
                                                         "return_dict",
                                                         "return_dict_in_generate",
                                                         "sep_token_id",
                                                         "seq_length",
                                                         "skip_bias_add",
                                                         "skip_bias_add_qkv",
                                                         "slow_but_exact",
                                                         "summary_activation",
                                                         "summary_first_dropout",
                                                         "summary_proj_to_labels",
                                                         "summary_type",
                                                         "summary_use_proj",
                                                         "suppress_tokens",
                                                         "task_specific_params",
                                                         "temperature",
                                                         "tf_legacy_loss",
                                                         "tie_encoder_decoder",
                                                         "title",
                                                         "tokenizer_class",
                                                         "top_k",
                                                         "top_p",
                                                         "torch_dtype",
                                                         "torchscript",
                                                         "transformers.js_config",
                                                         "transformers_version",
                                                         "trl_version",
                                                         "typical_p",
                                                         "unk_token_id",
                                                         "unsloth_fixed",
                                                         "unsloth_version",
                                                         "use_bfloat16",
                                                         "use_cache",
                                                         "use_flash_attn",
                                                         "use_return_dict",
                                                         "vision_config"};

// Chances of dropout matter while transformers trains a base model; here a base is frozen, and
// computed without.
bool is_dropout(std::string_view name) {
  return name.ends_with("dropout") || name.ends_with("dropout_prob") || name.ends_with("pdrop") ||
         name.ends_with("layerdrop");
}

}  // namespace

void tell_of_ignored_fields(const JsonFields& json) {
  constexpr size_t kShown = 8;
  std::vector<std::string> names;
  for (const std::string& name : json.unasked()) {
    // What is switched off is what the class does without the field.
    const bool off = json.all()[name] == false;
    if (off || is_dropout(name) || std::ranges::binary_search(kHarmless, std::string_view(name))) {
      continue;
    }
    names.push_back(printable(name));
  }
  if (names.empty()) return;
  const size_t hidden = names.size() > kShown ? names.size() - kShown : 0;
  names.resize(names.size() - hidden);
  notice_once(
      fmt::format("{}: ignored, since this family's class in transformers has no such "
                  "field: {}{}",
                  json.origin(), fmt::join(names, ", "),
                  hidden == 0 ? "" : fmt::format(" and {} more", hidden)));
}

}  // namespace leash
