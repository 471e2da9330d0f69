// What the user wrote, before anybody knows what it means: a tree of maps, lists and scalars in
// which every value knows its place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace leash {

struct Place {
  std::string source;            // the file as it was named, or "--set a.b=c"
  int64_t line = 0;              // from 1 on; -1: a source without lines
  std::filesystem::path folder;  // what relative paths in it belong to

  // "ppo.yaml:12", or the source alone.
  std::string text() const;
};

struct ConfigValue {
  // refused: was reported as a problem already; whoever reads the tree passes over it.
  enum class Kind { null, scalar, list, map, refused };
  Kind kind = Kind::null;
  std::string scalar{};
  std::vector<ConfigValue> items{};                           // of a list
  std::vector<std::pair<std::string, ConfigValue>> fields{};  // of a map, in the order written
  Place place{};        // of a field of a map: where its key stands
  bool quoted = false;  // a scalar that cannot mean a number

  ConfigValue* find(std::string_view key);
  const ConfigValue* find(std::string_view key) const;
};

// "a map", "a list", "null" or the scalar in quotes, for messages.
std::string describe(const ConfigValue& value);

}  // namespace leash
