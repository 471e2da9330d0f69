#include "rl/reference/second_model.h"

#include <fmt/format.h>

#include <filesystem>

#include "models/decoder/load_weight.h"
#include "models/errors.h"

namespace leash {
namespace {

// A second model reads the policy's ids, so they have to mean the same to it. A folder may come
// without a tokenizer; then only the number of ids can be compared.
void check_second_model(const Checkpoint& second, const FirstModel& first, const std::string& key) {
  const DecoderConfig& policy = first.decoder.config();
  if (second.config.vocab_size != policy.vocab_size) {
    throw ConfigError(fmt::format("{}: its vocabulary has {} ids, the policy's {}", key,
                                  second.config.vocab_size, policy.vocab_size));
  }
  const bool folder = std::filesystem::is_directory(second.path);
  if (folder && !std::filesystem::exists(second.path / "tokenizer.json")) return;
  if (!same_vocabulary(Tokenizer::load(second.path), first.tokenizer)) {
    throw ConfigError(fmt::format("{}: its tokenizer differs from the policy's", key));
  }
}

}  // namespace

std::shared_ptr<const Decoder> load_second_model(const std::string& path, const FirstModel& first,
                                                 Quantize quantize, at::Device device,
                                                 const std::shared_ptr<GatherQueue>& gathers,
                                                 const std::string& key) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model(path));
  check_second_model(checkpoint, first, key);
  const bool nothing_to_keep = quantize == Quantize::keep && keep_problem(checkpoint);
  return Decoder::load(checkpoint, {.dtype = first.decoder.weight_dtype(),
                                    .quantize = nothing_to_keep ? Quantize::none : quantize,
                                    .device = device,
                                    .gathers = gathers});
}

}  // namespace leash
