#include "rl/judges/exchange.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace leash {

Exchange::Exchange(size_t limit) : limit_(limit) {
  for (const Descriptor* ours : {to.write.get(), from.read.get()}) {
    fcntl(ours->get(), F_SETFL, O_NONBLOCK);
  }
}

void Exchange::send(std::string_view input, bool closes) {
  rest_ = input;
  closes_ = closes;
  if (rest_.empty() && closes_) to.write->close();
}

void Exchange::go_on(int milliseconds) {
  const int writes = rest_.empty() ? -1 : to.write->get();
  std::array<pollfd, 2> ends = {pollfd{from.read->get(), POLLIN, 0}, pollfd{writes, POLLOUT, 0}};
  if (poll(ends.data(), ends.size(), milliseconds) < 0 && errno != EINTR) {
    throw std::system_error(errno, std::generic_category(), "poll");
  }
  if (ends[1].revents != 0) write_some();
  if (ends[0].revents != 0) read_some();
}

void Exchange::read_rest() {
  while (from.read->get() >= 0 && read_some()) {
  }
}

void Exchange::write_some() {
  const ssize_t written = write(to.write->get(), rest_.data(), rest_.size());
  if (written > 0) rest_.remove_prefix(static_cast<size_t>(written));
  const bool again = written < 0 && (errno == EAGAIN || errno == EINTR);
  const bool broken = written < 0 && !again;
  if (broken) rest_ = {};
  if (broken || (rest_.empty() && closes_)) to.write->close();
}

// False when there is nothing more for now.
bool Exchange::read_some() {
  std::array<char, 65536> buffer;
  const ssize_t count = read(from.read->get(), buffer.data(), buffer.size());
  if (count > 0) output_.append(buffer.data(), static_cast<size_t>(count));
  if (output_.size() > limit_) {
    throw std::runtime_error(fmt::format("printed more than {} bytes", limit_));
  }
  const bool again = count < 0 && (errno == EAGAIN || errno == EINTR);
  if (count <= 0 && !again) from.read->close();
  return count > 0;
}

}  // namespace leash
