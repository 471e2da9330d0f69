#include "rl/run/sweep_record.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/json_file.h"
#include "models/io/mapped_file.h"

namespace leash {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

fs::path record_file(const fs::path& folder) { return folder / "sweep.json"; }

ordered_json entry_json(const SweepEntry& entry) {
  ordered_json settings = ordered_json::object();
  for (const auto& [path, value] : entry.settings) settings[path] = value;
  ordered_json json = {{"name", entry.name},
                       {"settings", settings},
                       {"seed", entry.seed},
                       {"status", enum_name(entry.status)},
                       {"step", entry.step}};
  if (!entry.why.empty()) json["why"] = entry.why;
  return json;
}

SweepStatus read_status(const std::string& name, const std::string& origin) {
  for (const auto& [status, known] : EnumNames<SweepStatus>::values) {
    if (name == known) return status;
  }
  throw FormatError(fmt::format("{}: status: is none of a run: {}", origin, brief(name)));
}

SweepEntry read_entry(const ordered_json& json, const std::string& origin) {
  SweepEntry entry{.name = json.at("name").get<std::string>(),
                   .seed = json.at("seed").get<int64_t>(),
                   .status = read_status(json.at("status").get<std::string>(), origin),
                   .step = json.at("step").get<int64_t>(),
                   .why = json.value("why", "")};
  const fs::path name = entry.name;
  if (name.empty() || name != name.filename() || name == "." || name == "..") {
    throw FormatError(
        fmt::format("{}: name: is no folder beside it: {}", origin, brief(entry.name)));
  }
  for (const auto& [path, value] : json.at("settings").items()) {
    entry.settings.emplace_back(path, value.get<std::string>());
  }
  return entry;
}

}  // namespace

void write_sweep_record(const fs::path& folder, const SweepRecord& record) {
  ordered_json json = {{"recipe", record.recipe},
                       {"task", record.task},
                       {"max_kl", record.max_kl ? ordered_json(*record.max_kl) : ordered_json()},
                       {"runs", ordered_json::array()}};
  for (const SweepEntry& entry : record.runs) json["runs"].push_back(entry_json(entry));
  write_text_file(record_file(folder),
                  json.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

bool has_sweep_record(const fs::path& folder) { return fs::exists(record_file(folder)); }

SweepRecord read_sweep_record(const fs::path& folder) {
  const std::string origin = record_file(folder).string();
  try {
    const auto mapped = MappedFile::open(record_file(folder));
    const auto bytes = mapped->bytes();
    const ordered_json json =
        parse_ordered_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, origin);
    SweepRecord record{.recipe = json.at("recipe"), .task = json.at("task")};
    if (!json.at("max_kl").is_null()) record.max_kl = json.at("max_kl").get<double>();
    for (const auto& entry : json.at("runs")) record.runs.push_back(read_entry(entry, origin));
    if (record.runs.empty()) throw FormatError(origin + ": runs: there are none");
    return record;
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(fmt::format("{}: is no record of a sweep ({})", origin, error.what()));
  }
}

}  // namespace leash
