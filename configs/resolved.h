// A setup as the text of resolved.yaml: only what is in effect, with absolute paths.
#pragma once

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "configs/binder.h"
#include "configs/checks.h"
#include "configs/yaml_writer.h"
#include "models/fields.h"

namespace leash {

// Visits a setup and all that is in it.
class AbsolutePaths {
 public:
  template <class T>
  void operator()(std::string_view, T& member, std::string_view, const Range& = {}) const {
    apply(member);
  }

 private:
  static std::filesystem::path absolute(const std::filesystem::path& path) {
    return path.empty() ? path : std::filesystem::absolute(path).lexically_normal();
  }
  template <class T>
  void apply(T&) const {}
  void apply(std::filesystem::path& path) const { path = absolute(path); }
  void apply(ModelPath& model) const {
    if (!model.is_name()) model = absolute(model.name).string();
  }
  template <class T>
  void apply(std::optional<T>& member) const {
    if (member) apply(*member);
  }
  template <class T>
  void apply(std::vector<T>& members) const {
    for (T& member : members) apply(member);
  }
  template <Described T>
  void apply(T& section) const {
    visit_fields(section, *this);
  }
};

// One section, without the fields that would have no effect: asks the task's own rules about each.
template <class Setup>
class EffectiveSection {
 public:
  EffectiveSection(const Setup& setup, std::string section)
      : setup_(setup), section_(std::move(section)) {}

  template <class T>
  void operator()(std::string_view name, const T& member, std::string_view help,
                  const Range& range = {}) {
    const std::string path = section_ + "." + std::string(name);
    Problems problems;
    check(setup_, {{path, {}}}, problems);
    const bool idle = std::ranges::any_of(problems.lines(), [&](const std::string& line) {
      return line.find(path + ": has no effect") != std::string::npos;
    });
    if (!idle) writer_(name, member, help, range);
  }
  const std::string& text() const { return writer_.text(); }

 private:
  const Setup& setup_;
  std::string section_;
  YamlWriter writer_{2};
};

template <class Setup>
class ResolvedWriter {
 public:
  explicit ResolvedWriter(const Setup& setup) : setup_(setup) {}

  template <Described T>
  void operator()(std::string_view name, const T& section, std::string_view) {
    EffectiveSection<Setup> writer(setup_, std::string(name));
    visit_fields(section, writer);
    if (!writer.text().empty()) text_ += fmt::format("{}:\n{}", name, writer.text());
  }
  template <Described T>
  void operator()(std::string_view name, const std::vector<T>& list, std::string_view help) {
    YamlWriter writer;
    writer(name, list, help);
    text_ += writer.text();
  }
  const std::string& text() const { return text_; }

 private:
  const Setup& setup_;
  std::string text_;
};

template <class Setup>
std::string resolved_setup(Setup setup) {
  visit_fields(setup, AbsolutePaths());
  ResolvedWriter<Setup> writer(setup);
  visit_fields(setup, writer);
  return writer.text();
}

}  // namespace leash
