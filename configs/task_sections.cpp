#include "configs/task_sections.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "configs/sections.h"

namespace leash {
namespace {

// Whether a task has the section, and as what.
struct Finder {
  std::string_view wanted;
  bool found = false, list = false;

  template <class T>
  void operator()(std::string_view name, const T&, std::string_view) {
    found = found || name == wanted;
  }
  template <class T>
  void operator()(std::string_view name, const std::vector<T>&, std::string_view) {
    if (name == wanted) found = list = true;
  }
};

}  // namespace

std::optional<std::string> tasks_with(std::string_view section) {
  std::vector<std::string> tasks;
  int64_t all = 0;
  for_each_task([&]<class Setup> {
    ++all;
    Finder finder{.wanted = section};
    const Setup setup;
    visit_fields(setup, finder);
    if (!finder.found) return;
    tasks.push_back(
        fmt::format("task: {}{}", TaskTraits<Setup>::name, finder.list ? " (a list)" : ""));
  });
  if (tasks.empty() || std::ssize(tasks) == all) return std::nullopt;
  return fmt::format("{}", fmt::join(tasks, " and "));
}

}  // namespace leash
