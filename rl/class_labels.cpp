#include "rl/class_labels.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/json_file.h"

namespace leash {
namespace {

constexpr const char* kFile = "labels.json";

}  // namespace

void write_class_labels(const std::filesystem::path& folder, const ClassNames& classes) {
  nlohmann::ordered_json id2label = nlohmann::ordered_json::object();
  nlohmann::ordered_json label2id = nlohmann::ordered_json::object();
  for (size_t i = 0; i < classes.size(); ++i) {
    id2label[std::to_string(i)] = classes[i];
    label2id[classes[i]] = i;
  }
  const nlohmann::ordered_json json = {{"id2label", id2label}, {"label2id", label2id}};
  write_text_file(folder / kFile, json.dump(2) + "\n");
}

std::optional<ClassNames> read_class_labels(const std::filesystem::path& folder) {
  const auto file = folder / kFile;
  if (!std::filesystem::exists(file)) return std::nullopt;
  try {
    const nlohmann::json json = read_json_file(file);
    const nlohmann::json& id2label = json.at("id2label");
    ClassNames classes;
    for (size_t i = 0; i < id2label.size(); ++i) {
      classes.push_back(id2label.at(std::to_string(i)).get<std::string>());
    }
    return classes;
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(
        fmt::format("{}: does not name classes from 0 on ({})", file.string(), error.what()));
  }
}

}  // namespace leash
