#include "experiments/cli/export_model.h"

#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "models/decoder/score_head.h"
#include "models/errors.h"
#include "models/export/gguf_adapter.h"
#include "models/export/gguf_model.h"
#include "models/export/hf_folder.h"
#include "models/export/merged_checkpoint.h"
#include "models/export/output_path.h"
#include "models/families/decoder_modules.h"
#include "models/io/json_file.h"
#include "models/io/safetensors.h"
#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"
#include "models/quant/block_formats.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/classification/class_labels.h"
#include "rollout/scoring.h"

namespace leash::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostProbeTokens = 256;

at::ScalarType scalar_of(BlockType type) {
  switch (type) {
    case BlockType::f16:
      return at::kHalf;
    case BlockType::bf16:
      return at::kBFloat16;
    default:
      return at::kFloat;
  }
}

// Text that the log-probs are compared on; pseudo-random tokens where there is no tokenizer that
// could be read.
std::vector<std::vector<int64_t>> probe_texts(const Checkpoint& checkpoint) {
  constexpr const char* kTexts[] = {
      "The quick brown fox jumps over the lazy dog. In 1969, 12 people asked: \"Why not?\" She "
      "said "
      "that the answer depends on what one wants to know, and when; he wrote it down twice.",
      "def add(a, b):\n    return a + b\n\nprint(add(2, 40))  # 42\n",
      "Grüße aus Köln! ¿Dónde está la biblioteca? Привет, как дела? 你好，世界。"};
  std::vector<std::vector<int64_t>> texts;
  try {
    const Tokenizer tokenizer = Tokenizer::load(checkpoint.path);
    for (const char* text : kTexts) texts.push_back(tokenizer.encode_with_special(text));
  } catch (const FormatError&) {
    constexpr int64_t kStep = 7919, kLength = 48;
    texts.emplace_back();
    for (int64_t i = 0; i < kLength; ++i) {
      texts[0].push_back((i * kStep + 13) % checkpoint.config.vocab_size);
    }
  }
  const size_t most =
      std::min(kMostProbeTokens, static_cast<size_t>(checkpoint.config.max_positions));
  for (auto& ids : texts) {
    ids.resize(std::min(ids.size(), most));
    for (int64_t& id : ids) id %= checkpoint.config.vocab_size;
  }
  return texts;
}

std::vector<double> log_probs(const Decoder& decoder, const Adapter* adapter,
                              const std::vector<std::vector<int64_t>>& texts) {
  std::vector<ScoredText> scored;
  for (const auto& ids : texts) {
    if (ids.size() > 1) scored.push_back({.ids = ids});
  }
  std::vector<double> all;
  for (const TextScores& scores : score_texts(decoder, adapter, scored)) {
    all.insert(all.end(), scores.logprobs.begin(), scores.logprobs.end());
  }
  return all;
}

std::vector<double> class_scores(const Decoder& decoder, const Adapter* adapter,
                                 const LinearHead& head,
                                 const std::vector<std::vector<int64_t>>& texts) {
  const at::Tensor scores =
      score_sequences(decoder, adapter, head, texts).to(at::kDouble).contiguous();
  const double* values = scores.const_data_ptr<double>();
  return {values, values + scores.numel()};
}

void compare(const std::vector<double>& a, const std::vector<double>& b, ExportResult& result) {
  result.compared = std::ssize(a);
  for (size_t i = 0; i < a.size(); ++i) {
    const double gap = std::abs(a[i] - b[i]);
    if (!(gap <= result.largest_gap)) result.largest_gap = gap;
    if (std::isnan(gap)) return;  // the largest of all
  }
}

// One export: what is known before anything is written, and each format's way.
class Exporter {
 public:
  explicit Exporter(const ExportRequest& request)
      : request_(request),
        type_(request.type.value_or(default_export_type(request.checkpoint, request.kind))) {
    if (request_.adapter) {
      folder_ = adapter_folder(*request_.adapter);
      const std::optional<int64_t> outputs = score_outputs(folder_);
      adapter_ =
          outputs ? load_score_adapter(folder_, *request_.decoder, *outputs) : plain_adapter();
      scores_ = outputs.has_value();
      adapter_->set_trainable(false);
    }
    check();
  }

  ExportResult run() {
    OutputPath out(request_.out);
    ExportResult result{.type = type_, .of_scores = scores_};
    switch (request_.kind) {
      case ExportKind::hf:
        write_hf_folder(out.aside(), merged(), scalar_of(type_));
        name_classes(out.aside());
        compare_model(out.aside(), result);
        break;
      case ExportKind::gguf:
        write_gguf_model(out.aside(), merged(), type_);
        compare_model(out.aside(), result);
        break;
      case ExportKind::gguf_adapter:
        write_gguf_adapter(out.aside(), request_.checkpoint, *adapter_, type_);
        compare_adapter(read_gguf_adapter(out.aside(), request_.checkpoint, *adapter_), result);
        break;
      case ExportKind::peft:
        save_adapter(out.aside(), *adapter_, request_.checkpoint.path.string(), metadata());
        copy_labels(out.aside());
        compare_adapter(load_adapter(out.aside(), adapter_->modules()), result);
        break;
    }
    out.commit();
    return result;
  }

 private:
  Adapter plain_adapter() const {
    require_same_base(folder_, request_.decoder->identity());
    return load_adapter(folder_, request_.decoder->modules());
  }

  void check() const {
    const bool of_adapter =
        request_.kind == ExportKind::gguf_adapter || request_.kind == ExportKind::peft;
    if (of_adapter && !adapter_) {
      throw ConfigError(fmt::format("--as {} needs --adapter", enum_name(request_.kind)));
    }
    if (request_.kind == ExportKind::hf && type_ == BlockType::q8_0) {
      throw ConfigError("--outtype q8_0 is for GGUF files: --as hf takes f32, f16 or bf16");
    }
    if (request_.kind == ExportKind::peft && request_.type) {
      throw ConfigError("--outtype has no effect with --as peft: adapters stay in f32");
    }
  }

  Checkpoint merged() const {
    const Adapter none(LoraConfig{}, request_.decoder->modules());
    return merged_checkpoint(request_.checkpoint, adapter_ ? *adapter_ : none);
  }

  std::map<std::string, std::string> metadata() const {
    auto entries = read_safetensors_metadata(folder_ / "adapter_model.safetensors");
    entries.erase("format");
    return entries;
  }

  void copy_labels(const fs::path& to) const {
    const auto file = folder_ / "labels.json";
    std::error_code error;
    if (fs::exists(file, error)) fs::copy_file(file, to / file.filename());
  }

  // The names of a classifier's classes belong into config.json.
  void name_classes(const fs::path& folder) const {
    if (!adapter_ || !scores_) return;
    const auto names = read_class_labels(folder_);
    if (names) set_class_names(folder, *names);
  }

  void compare_model(const fs::path& written, ExportResult& result) const {
    const auto texts = probe_texts(request_.checkpoint);
    const Checkpoint reread = open_checkpoint(written);
    const auto decoder = Decoder::load(reread, at::kFloat);
    const Adapter* adapter = adapter_ ? &*adapter_ : nullptr;
    if (reread.config.num_labels == 0) {
      return compare(log_probs(*request_.decoder, adapter, texts),
                     log_probs(*decoder, nullptr, texts), result);
    }
    result.of_scores = true;
    const LinearHead head = scores_ ? score_head(*adapter_) : LinearHead::load(request_.checkpoint);
    compare(class_scores(*request_.decoder, adapter, head, texts),
            class_scores(*decoder, nullptr, LinearHead::load(reread), texts), result);
  }

  void compare_adapter(const Adapter& reread, ExportResult& result) const {
    const auto texts = probe_texts(request_.checkpoint);
    if (scores_) {
      return compare(class_scores(*request_.decoder, &*adapter_, score_head(*adapter_), texts),
                     class_scores(*request_.decoder, &reread, score_head(reread), texts), result);
    }
    compare(log_probs(*request_.decoder, &*adapter_, texts),
            log_probs(*request_.decoder, &reread, texts), result);
  }

  const ExportRequest& request_;
  BlockType type_;
  fs::path folder_;
  std::optional<Adapter> adapter_;
  bool scores_ = false;
};

}  // namespace

BlockType default_export_type(const Checkpoint& checkpoint, ExportKind kind) {
  if (kind == ExportKind::gguf_adapter || kind == ExportKind::peft) return BlockType::f32;
  std::error_code error;
  const auto file = checkpoint.path / "config.json";
  if (fs::exists(file, error)) {
    const nlohmann::json config = read_json_file(file);
    const std::string type = config.value("dtype", config.value("torch_dtype", ""));
    return type == "float16"    ? BlockType::f16
           : type == "bfloat16" ? BlockType::bf16
                                : BlockType::f32;
  }
  const auto embedding = decoder_modules(checkpoint.config).front().path + ".weight";
  const auto type = checkpoint.tensors->block_type(embedding);
  return type == BlockType::f16 || type == BlockType::bf16 ? *type : BlockType::f32;
}

fs::path adapter_folder(const fs::path& folder) {
  std::error_code error;
  for (const fs::path& place : {folder, folder / "adapter"}) {
    if (fs::exists(place / "adapter_config.json", error)) return place;
  }
  throw FormatError(folder.string() +
                    ": holds no adapter_config.json, and no adapter/ with one: give an adapter, a "
                    "snapshot or a run's folder");
}

ExportResult export_model(const ExportRequest& request) {
  const c10::AutoGradMode no_grad(false);
  return Exporter(request).run();
}

std::string gap_text(const ExportResult& result) {
  const bool scores = result.of_scores;
  return fmt::format("largest gap in {}: {:.2g}{} over {} {}, written as {}",
                     scores ? "scores" : "log-probs", result.largest_gap, scores ? "" : " nats",
                     result.compared, scores ? "scores" : "tokens", block_format(result.type).name);
}

}  // namespace leash::cli
