// What is wrong with a template before it is rendered.
#pragma once

#include <stdexcept>
#include <string>

namespace leash::jinja {

class SyntaxError : public std::runtime_error {
 public:
  SyntaxError(int line, const std::string& message) : std::runtime_error(message), line_(line) {}
  int line() const { return line_; }

 private:
  int line_;
};

}  // namespace leash::jinja
