// SIGINT, SIGTERM and SIGHUP, with nothing in the handlers but what POSIX allows there.
#include "rl/run/interrupt.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <stdexcept>

namespace leash {
namespace {

struct Farewell {
  char text[1024];
  size_t size;
};

// What the handlers share with the guard. Lock-free atomics are safe in handlers.
std::atomic<bool> g_active{false};
std::atomic<int64_t> g_requested_at{0};  // milliseconds; 0: not yet
std::atomic<unsigned> g_grace_seconds{0};
// Two buffers: one is read by the handler while the other is filled.
Farewell g_farewells[2];
std::atomic<int> g_farewell{0};
static_assert(std::atomic<int64_t>::is_always_lock_free &&
              std::atomic<unsigned>::is_always_lock_free);

constexpr int64_t kOneRequest = 1000;  // milliseconds

int64_t monotonic_ms() {
  timespec time = {};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

void say(const char* text, size_t size) { (void)!::write(STDERR_FILENO, text, size); }

template <size_t size>
void say(const char (&text)[size]) {
  say(text, size - 1);
}

[[noreturn]] void end_at_once() {
  const Farewell& farewell = g_farewells[g_farewell.load()];
  say(farewell.text, farewell.size);
  ::_exit(kInterruptedExit);
}

void on_signal(int signal) {
  const int saved = errno;
  const unsigned grace = g_grace_seconds.load();
  if (grace == 0) end_at_once();
  int64_t first = 0;
  if (g_requested_at.compare_exchange_strong(first, monotonic_ms())) {
    say("\nleash: finishing this step, then a snapshot; once more to end at once\n");
  } else if (monotonic_ms() >= first + kOneRequest) {
    say("\nleash: second signal: ending at once\n");
    end_at_once();
  }
  if (signal == SIGTERM) ::alarm(grace);  // the user at the keyboard can ask twice
  errno = saved;
}

void on_alarm(int) {
  say("\nleash: run.grace_seconds are over: ending at once\n");
  end_at_once();
}

// SA_RESTART: reading and writing go on as if nothing had happened.
void install(int signal, void (*handler)(int), struct sigaction* old) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(signal, &action, old);
}

}  // namespace

void ignore_write_signals() {
  for (const int signal : {SIGPIPE, SIGXFSZ}) ::signal(signal, SIG_IGN);
}

InterruptGuard::InterruptGuard(int64_t grace_seconds) {
  if (g_active.exchange(true)) throw std::logic_error("two InterruptGuards at once");
  g_requested_at = 0;
  g_grace_seconds = static_cast<unsigned>(std::clamp<int64_t>(grace_seconds, 0, 1 << 30));
  set_farewell("there is no snapshot of this run yet");
  install(SIGALRM, on_alarm, &old_alarm_);
  install(SIGINT, on_signal, &old_int_);
  install(SIGTERM, on_signal, &old_term_);
  ::sigaction(SIGHUP, nullptr, &old_hangup_);
  if (old_hangup_.sa_handler != SIG_IGN) install(SIGHUP, on_signal, &old_hangup_);
}

InterruptGuard::~InterruptGuard() {
  ::sigaction(SIGINT, &old_int_, nullptr);
  ::sigaction(SIGTERM, &old_term_, nullptr);
  ::sigaction(SIGHUP, &old_hangup_, nullptr);
  ::alarm(0);
  ::sigaction(SIGALRM, &old_alarm_, nullptr);
  g_active = false;
}

bool InterruptGuard::requested() const { return g_requested_at.load() != 0; }

void InterruptGuard::set_farewell(const std::string& text) {
  const int next = 1 - g_farewell.load();
  Farewell& farewell = g_farewells[next];
  const std::string line = "leash: " + text.substr(0, 1000) + "\n";
  std::memcpy(farewell.text, line.data(), line.size());
  farewell.size = line.size();
  g_farewell = next;
}

}  // namespace leash
