#include "rl/classification/class_labels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "models/decoder/score_head.h"
#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/json_file.h"

namespace leash {
namespace {

constexpr const char* kLabelsFile = "labels.json";

// id2label of a JSON file, in its order; empty where it has none.
ClassNames names_in(const std::filesystem::path& file) {
  try {
    const nlohmann::json json = read_json_file(file);
    ClassNames classes;
    if (!json.contains("id2label")) return classes;
    const nlohmann::json& id2label = json.at("id2label");
    for (size_t i = 0; i < id2label.size(); ++i) {
      classes.push_back(id2label.at(std::to_string(i)).get<std::string>());
    }
    return classes;
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(
        fmt::format("{}: does not name classes from 0 on ({})", file.string(), error.what()));
  }
}

// The same names, of which one stands elsewhere: a trained head would mean other classes.
bool reordered(const ClassNames& a, const ClassNames& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && std::ranges::find(b, a[i]) != b.end()) return true;
  }
  return false;
}

}  // namespace

std::optional<ClassNames> named_classes(const Checkpoint& checkpoint) {
  const auto file = checkpoint.path / "config.json";
  if (checkpoint.config.num_labels < 2 || !std::filesystem::exists(file)) return std::nullopt;
  const ClassNames names = names_in(file);
  const bool different = std::set(names.begin(), names.end()).size() == names.size();
  if (names.empty() || !different || names == numbered_classes(std::ssize(names))) {
    return std::nullopt;
  }
  return names;
}

KnownClasses known_classes(const std::vector<std::string>& labels,
                           const std::optional<std::filesystem::path>& adapter,
                           const Checkpoint& checkpoint) {
  const auto named = named_classes(checkpoint);
  const std::string origin = "the model " + checkpoint.path.string();
  if (!labels.empty()) {
    if (!adapter && named && reordered(*named, labels)) {
      throw FormatError(
          fmt::format("{}: its classes are {}; data.labels has them in another order ({})", origin,
                      fmt::join(*named, ", "), fmt::join(labels, ", ")));
    }
    return {.names = labels};
  }
  if (adapter) {
    if (auto names = read_class_labels(*adapter)) {
      return {.names = std::move(*names), .origin = "the adapter " + adapter->string()};
    }
    const auto outputs = score_outputs(*adapter);
    if (outputs && *outputs != checkpoint.config.num_labels) {
      return {.origin = "the adapter " + adapter->string(),
              .numbered = *outputs > 1 ? *outputs : 0};
    }
  }
  if (named) return {.names = *named, .origin = origin};
  return {.origin = origin,
          .numbered = checkpoint.config.num_labels > 1 ? checkpoint.config.num_labels : 0};
}

void write_class_labels(const std::filesystem::path& folder, const ClassNames& classes) {
  nlohmann::ordered_json id2label = nlohmann::ordered_json::object();
  nlohmann::ordered_json label2id = nlohmann::ordered_json::object();
  for (size_t i = 0; i < classes.size(); ++i) {
    id2label[std::to_string(i)] = classes[i];
    label2id[classes[i]] = i;
  }
  const nlohmann::ordered_json json = {{"id2label", id2label}, {"label2id", label2id}};
  write_text_file(folder / kLabelsFile, json.dump(2) + "\n");
}

std::optional<ClassNames> read_class_labels(const std::filesystem::path& folder) {
  const auto file = folder / kLabelsFile;
  if (!std::filesystem::exists(file)) return std::nullopt;
  const nlohmann::json json = read_json_file(file);
  if (!json.contains("id2label")) throw FormatError(file.string() + ": has no id2label");
  return names_in(file);
}

}  // namespace leash
