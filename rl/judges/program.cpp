#include "rl/judges/program.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <system_error>

#include "rl/judges/exchange.h"
#include "rl/judges/process_group.h"

namespace leash {
namespace {

using Clock = std::chrono::steady_clock;

void require_success(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  throw std::runtime_error(status_text(status));
}

std::string converse(const std::string& command, std::string_view input,
                     const ProgramLimits& limits, const ProgramPlace& place) {
  const NoPipeSignal no_signal;
  const auto begin = Clock::now();
  Exchange exchange(limits.output_bytes);
  exchange.send(input, /*closes=*/true);
  ProcessGroup group;
  group.start(command, exchange.to.read->get(), exchange.from.write->get(), place);
  exchange.to.read->close();
  exchange.from.write->close();
  std::optional<int> status;
  while (!(status = group.status())) {
    if (Clock::now() - begin > std::chrono::duration<double>(limits.seconds)) {
      throw std::runtime_error(
          fmt::format("did not end within {} s (timeout_seconds)", limits.seconds));
    }
    exchange.go_on(exchange.reads() ? kLookMilliseconds : kLookForEndMilliseconds);
  }
  exchange.read_rest();
  require_success(*status);
  return exchange.take();
}

}  // namespace

std::string run_program(const std::string& command, std::string_view input,
                        const ProgramLimits& limits, const ProgramPlace& place) {
  try {
    return converse(command, input, limits, place);
  } catch (const std::system_error&) {
    throw;  // is no fault of the program
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(fmt::format("the reward command `{}` {}", command, error.what()));
  }
}

}  // namespace leash
