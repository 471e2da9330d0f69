#include "rl/reward/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "models/printable.h"
#include "rl/judges/program.h"
#include "rl/judges/replies.h"
#include "rl/reward/sample_json.h"
#include "rl/run/json_line.h"

namespace leash {
namespace {

std::string batch_lines(const std::vector<RewardSample>& samples, bool ids, bool counted) {
  std::string lines;
  for (size_t i = 0; i < samples.size(); ++i) {
    nlohmann::ordered_json json = sample_json(samples[i], ids);
    if (counted) {
      json["index"] = i;
      json["count"] = samples.size();
    }
    lines += json_line(json) + "\n";
  }
  return lines;
}

// What a label has that a file's name should not.
std::string for_file_name(std::string label) {
  std::ranges::replace_if(
      label,
      [](char c) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '_' || c == '-';
        return !plain;
      },
      '_');
  return label;
}

// The last line of a file that is not empty.
std::string last_line(const std::filesystem::path& file) {
  constexpr std::streamoff kTail = 4096;
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  if (!stream) return "";
  const std::streamoff size = stream.tellg();
  stream.seekg(std::max<std::streamoff>(size - kTail, 0));
  std::string text(static_cast<size_t>(std::min(size, kTail)), '\0');
  stream.read(text.data(), std::ssize(text));
  text.resize(text.find_last_not_of(" \t\r\n") + 1);
  return text.substr(text.find_last_of('\n') + 1);
}

}  // namespace

CommandReward::CommandReward(CommandOptions options)
    : options_(std::move(options)), place_{.folder = options_.folder} {
  if (options_.mode == CommandMode::per_batch) return;
  persistent_ = std::make_unique<PersistentProgram>(
      options_.command,
      PersistentLimits{.seconds = options_.timeout_seconds, .max_restarts = options_.max_restarts},
      place_);
}

void CommandReward::keep_logs_in(const std::filesystem::path& folder, int64_t rank) const {
  const std::lock_guard lock(*mutex_);
  const std::string of_rank = rank == 0 ? "" : fmt::format("-rank-{}", rank);
  place_.log = folder / fmt::format("reward-{}{}.log", for_file_name(options_.label), of_rank);
  if (persistent_) persistent_->set_place(place_);
}

std::string CommandReward::complaint(const std::string& what) const {
  std::string text = what;
  if (!text.starts_with("the reward command")) {
    text = fmt::format("the reward command `{}` {}", options_.command, what);
  }
  if (!place_.folder.empty()) text += fmt::format(" (it runs in {})", place_.folder.string());
  if (!place_.log) return text;
  const std::string last = last_line(*place_.log);
  if (last.empty()) return text;
  return text + fmt::format("; {} ends with: {}", place_.log->string(), printable(last, 300));
}

std::vector<double> CommandReward::score(const std::vector<RewardSample>& samples) const {
  if (samples.empty()) return {};  // a rank may have none
  const std::lock_guard lock(*mutex_);
  const std::string lines = batch_lines(samples, options_.ids, persistent_ != nullptr);
  try {
    if (persistent_) return persistent_->ask(lines, samples.size());
    return parse_scores(run_program(options_.command, lines,
                                    {.seconds = options_.timeout_seconds,
                                     .output_bytes = longest_reply(samples.size())},
                                    place_),
                        samples.size());
  } catch (const std::system_error&) {
    throw;  // is no fault of the program
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(complaint(error.what()));
  }
}

}  // namespace leash
