#include "rl/preference/kept_logprobs.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <cstring>
#include <optional>

#include "models/errors.h"
#include "models/io/crc32c.h"
#include "models/io/safetensors.h"

namespace leash {
namespace {

constexpr const char* kFingerprint = "leash.fingerprint";

// None where there is none, or one of something else.
std::optional<std::vector<double>> read_kept(const std::filesystem::path& file,
                                             const std::string& fingerprint, int64_t count) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  const auto metadata = read_safetensors_metadata(file);
  const auto found = metadata.find(kFingerprint);
  if (found == metadata.end() || found->second != fingerprint) return std::nullopt;
  for (const auto& [name, tensor] : read_safetensors(file)) {
    if (name != "logprobs" || tensor.scalar_type() != at::kDouble || tensor.dim() != 1 ||
        tensor.size(0) != count) {
      break;
    }
    const auto* data = tensor.const_data_ptr<double>();
    return std::vector<double>(data, data + count);
  }
  throw FormatError(
      fmt::format("{}: has to hold {} numbers `logprobs`; without the file they are "
                  "computed again",
                  file.string(), count));
}

std::string bytes_of(std::span<const double> numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()};
}

}  // namespace

std::string logprobs_fingerprint(const TrainedModel& model, std::span<const AnswerText> texts,
                                 const std::string& more) {
  uint32_t tokens = 0;
  int64_t count = 0;
  for (const AnswerText& text : texts) {
    std::string bytes(reinterpret_cast<const char*>(text.ids.data()), text.ids.size_bytes());
    bytes += fmt::format(";{};{:08x}", text.answer_begin, tokens);
    tokens = crc32c(bytes);
    count += std::ssize(text.ids);
  }
  const NumericEnvironment& environment = model.environment;
  const auto other = environment.others.find("reference");
  return fmt::format("base {}; quantize {}; {}; {}; reference {}; {} texts, {} tokens, {:08x}{}",
                     environment.base, environment.quantize, environment.dtype, environment.device,
                     other == environment.others.end() ? "the base" : other->second, texts.size(),
                     count, tokens, more);
}

std::vector<double> kept_logprobs(const std::filesystem::path& folder,
                                  const std::string& fingerprint, int64_t count,
                                  Communicator& communicator,
                                  const std::function<std::vector<double>()>& compute) {
  const auto file = folder / kKeptLogprobsFile;
  std::optional<std::vector<double>> kept;
  if (communicator.leads()) kept = read_kept(file, fingerprint, count);
  const std::string bytes = from_leader(communicator, kept ? bytes_of(*kept) : "");
  if (!bytes.empty()) {
    std::vector<double> numbers(bytes.size() / sizeof(double));
    std::memcpy(numbers.data(), bytes.data(), bytes.size());
    return numbers;
  }
  const std::vector<double> numbers = compute();
  if (communicator.leads()) {
    write_safetensors(file, {{"logprobs", at::tensor(numbers, at::kDouble)}},
                      {{"format", "pt"}, {kFingerprint, fingerprint}});
  }
  return numbers;
}

}  // namespace leash
