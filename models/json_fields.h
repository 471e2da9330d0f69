// Typed access to the members of a JSON object from outside; null counts as absent, as in Python.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace leash {

class JsonFields {
 public:
  // FormatError unless `object` is one. It must outlive this view.
  JsonFields(const nlohmann::json& object, std::string origin);

  bool has(const char* key) const { return find(key) != nullptr; }
  bool is_null(const char* key) const;  // written, as null
  // nullopt when absent, FormatError when of another type.
  std::optional<int64_t> integer(const char* key) const;
  std::optional<double> number(const char* key) const;
  std::optional<bool> boolean(const char* key) const;
  std::optional<std::string> string(const char* key) const;
  // A list of numbers.
  std::optional<std::vector<double>> numbers(const char* key) const;
  std::optional<std::vector<std::string>> strings(const char* key) const;
  // One integer or a list of them.
  std::optional<std::vector<int64_t>> integers(const char* key) const;
  std::optional<JsonFields> object(const char* key) const;
  // The value itself, or nullptr.
  const nlohmann::json* find(const char* key) const;

  int64_t required_integer(const char* key) const;
  double required_number(const char* key) const;

  // Members that nobody asked for, through this view or a copy of it; null ones left out.
  std::vector<std::string> unasked() const;
  const nlohmann::json& all() const { return *object_; }
  const std::string& origin() const { return origin_; }

  [[noreturn]] void fail(const std::string& what) const;

 private:
  [[noreturn]] void wrong_type(const char* key, const char* wanted) const;
  int64_t as_integer(const nlohmann::json& value, const char* key) const;
  const nlohmann::json* object_;
  std::string origin_;
  std::shared_ptr<std::set<std::string, std::less<>>> asked_;
};

}  // namespace leash
