#include "configs/yaml_source.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>

#include "models/errors.h"

namespace leash {
namespace {

constexpr size_t kMaxDepth = 32;
constexpr size_t kMaxBytes = size_t{1} << 20;
// A recipe has some hundred; each unknown one is compared with all that are known.
constexpr size_t kMaxKeys = 4000;
constexpr const char* kNoAnchors = "anchors and aliases are not supported: write the value out";

// Builds the tree from the parser's events. yaml-cpp's own Node would expand aliases without end.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(const Place& origin, Problems& problems) : origin_(origin), problems_(problems) {}
  ConfigValue take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_extras(mark, "", anchor);
    put({.kind = ConfigValue::Kind::null, .place = at(mark)});
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    problems_.add(at(mark), "", kNoAnchors);
    put({.kind = ConfigValue::Kind::refused, .place = at(mark)});
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_extras(mark, tag, anchor);
    const bool plain = tag == "?";
    if (plain && (value == "~" || value == "null" || value == "Null" || value == "NULL")) {
      return put({.kind = ConfigValue::Kind::null, .place = at(mark)});
    }
    put({.kind = ConfigValue::Kind::scalar, .scalar = value, .place = at(mark), .quoted = !plain});
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    refuse_extras(mark, tag, anchor);
    open({.kind = ConfigValue::Kind::list, .place = at(mark)});
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    refuse_extras(mark, tag, anchor);
    open({.kind = ConfigValue::Kind::map, .place = at(mark)});
  }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    ConfigValue value;
    std::string key{};
    Place key_place{};
    bool has_key = false;
  };

  Place at(const YAML::Mark& mark) const {
    Place place = origin_;
    if (origin_.line >= 0) place.line = mark.line + 1;
    return place;
  }
  // "?" and "!" are how yaml-cpp says "plain" and "quoted".
  void refuse_extras(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) problems_.add(at(mark), "", kNoAnchors);
    if (tag != "?" && tag != "!" && !tag.empty()) {
      problems_.add(at(mark), "", fmt::format("the tag {} is not supported", tag));
    }
  }
  // "ppo.learning_rate": the key that the innermost map is at.
  std::string path() const {
    std::string path;
    for (const Level& level : levels_) {
      if (level.value.kind == ConfigValue::Kind::list) {
        path += fmt::format("[{}]", level.value.items.size());
      } else {
        path += (path.empty() ? "" : ".") + level.key;
      }
    }
    return path;
  }
  void open(ConfigValue value) {
    if (levels_.size() >= kMaxDepth) {
      throw YAML::ParserException(YAML::Mark::null_mark(), "nested too deeply");
    }
    levels_.push_back({std::move(value)});
  }
  void close() {
    ConfigValue value = std::move(levels_.back().value);
    levels_.pop_back();
    put(std::move(value));
  }
  void put(ConfigValue value) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return;
    }
    Level& level = levels_.back();
    if (level.value.kind == ConfigValue::Kind::list) {
      level.value.items.push_back(std::move(value));
    } else if (!level.has_key) {
      if (value.kind == ConfigValue::Kind::list || value.kind == ConfigValue::Kind::map ||
          value.kind == ConfigValue::Kind::null) {
        problems_.add(value.place, "", fmt::format("{} cannot be a key", describe(value)));
      }
      level.key = value.scalar;
      level.key_place = value.place;
      level.has_key = true;
    } else {
      level.has_key = false;
      if (++num_keys_ > kMaxKeys) {
        throw YAML::ParserException(YAML::Mark::null_mark(),
                                    fmt::format("more than {} keys", kMaxKeys));
      }
      if (level.value.find(level.key) != nullptr) {
        return problems_.add(level.key_place, path(), "stands twice");
      }
      value.place = level.key_place;
      level.value.fields.emplace_back(std::move(level.key), std::move(value));
      level.key.clear();
    }
  }

  Place origin_;
  Problems& problems_;
  std::vector<Level> levels_;
  size_t num_keys_ = 0;
  ConfigValue root_;
};

// One step of a path: a key, or an index into a list.
struct Step {
  std::string key;
  int64_t index = -1;
};

std::optional<std::vector<Step>> parse_path(std::string_view path) {
  std::vector<Step> steps;
  while (!path.empty()) {
    if (path.front() == '[') {
      Step step;
      const size_t end = path.find(']');
      if (end == std::string_view::npos || steps.empty()) return std::nullopt;
      const auto [last, error] = std::from_chars(path.data() + 1, path.data() + end, step.index);
      if (error != std::errc() || last != path.data() + end || step.index < 0) return std::nullopt;
      steps.push_back(step);
      path.remove_prefix(end + 1);
    } else {
      if ((path.front() == '.') == steps.empty()) return std::nullopt;
      if (path.front() == '.') path.remove_prefix(1);
      const size_t end = std::min(path.find_first_of(".["), path.size());
      if (end == 0) return std::nullopt;
      steps.push_back({std::string(path.substr(0, end))});
      path.remove_prefix(end);
    }
  }
  if (steps.empty()) return std::nullopt;
  return steps;
}

// The place in the tree that `step` leads to from `node`; nullptr when there is no such entry.
ConfigValue* descend(ConfigValue* node, const Step& step, const Place& place) {
  if (step.index >= 0) {
    const auto index = static_cast<size_t>(step.index);
    return node->kind == ConfigValue::Kind::list && index < node->items.size() ? &node->items[index]
                                                                               : nullptr;
  }
  if (node->kind == ConfigValue::Kind::null) {
    *node = {.kind = ConfigValue::Kind::map, .place = place};
  }
  if (node->kind != ConfigValue::Kind::map) return nullptr;
  if (ConfigValue* found = node->find(step.key)) return found;
  node->fields.emplace_back(step.key, ConfigValue{.place = place});
  return &node->fields.back().second;
}

// Parses one document; yaml-cpp's exceptions leave it.
ConfigValue parse_document(const std::string& text, const Place& origin, Problems& problems) {
  TreeBuilder builder(origin, problems);
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  if (!parser.HandleNextDocument(builder)) return {.place = origin};
  TreeBuilder rest(origin, problems);
  if (parser.HandleNextDocument(rest)) {
    problems.add(origin, "", "holds several documents; one is expected");
  }
  return builder.take();
}

// yaml-cpp takes a quote that is never closed for one that the last line break closes, and all that
// stands between for the text: without line breaks at the end it sees the mistake.
void check_quotes(const std::string& text, const Place& origin) {
  Problems ignored;
  parse_document(text.substr(0, text.find_last_not_of(" \t\r\n") + 1), origin, ignored);
}

}  // namespace

ConfigValue parse_yaml(const std::string& text, const Place& origin, Problems& problems) {
  try {
    ConfigValue root = parse_document(text, origin, problems);
    check_quotes(text, origin);
    return root;
  } catch (const YAML::Exception& error) {
    Place place = origin;
    if (!error.mark.is_null() && origin.line >= 0) place.line = error.mark.line + 1;
    problems.add(place, "", "is not valid YAML: " + error.msg);
    return {.kind = ConfigValue::Kind::refused, .place = origin};
  }
}

std::string read_recipe_text(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    throw ConfigError(fmt::format("{}: there is no such recipe", file.string()));
  }
  if (!std::filesystem::is_regular_file(file, error)) {
    throw ConfigError(fmt::format("{}: is no regular file, so no recipe", file.string()));
  }
  if (std::filesystem::file_size(file, error) > kMaxBytes) {
    throw ConfigError(fmt::format("{}: is too large for a recipe", file.string()));
  }
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  if (!stream) throw ConfigError(fmt::format("{}: cannot be read", file.string()));
  return text.str();
}

ConfigValue read_yaml_file(const std::filesystem::path& file, Problems& problems) {
  return parse_yaml(read_recipe_text(file), {.source = file.string(), .folder = file.parent_path()},
                    problems);
}

void apply_override(ConfigValue& root, const std::string& assignment, Problems& problems) {
  const Place place{.source = "--set " + assignment, .line = -1, .folder = "."};
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || !parse_path(std::string_view(assignment).substr(0, equals))) {
    return problems.add(place, "", "has to be section.field=value");
  }
  ConfigValue value = parse_yaml(assignment.substr(equals + 1), place, problems);
  value.place = place;
  apply_value(root, assignment.substr(0, equals), std::move(value), problems);
}

void apply_value(ConfigValue& root, const std::string& path, ConfigValue value,
                 Problems& problems) {
  const Place place = value.place;
  const auto steps = parse_path(path);
  if (!steps) return problems.add(place, path, "is no path of a setting (section.field)");
  if (root.kind == ConfigValue::Kind::refused) return;
  ConfigValue* node = &root;
  for (const Step& step : *steps) {
    node = descend(node, step, place);
    if (node == nullptr) {
      return problems.add(place, path,
                          "there is no such entry (those of a list are reward[0], reward[1], …)");
    }
  }
  *node = std::move(value);
}

}  // namespace leash
