// Signals, in child processes: what the guard lets a run do, and how it ends one.
#include "rl/run/interrupt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>

namespace leash {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Ending {
  int exit_code = -1;
  std::string text;  // standard error
  double seconds = 0;
};

Ending run_in_child(const std::function<int()>& work) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    ::_exit(work());
  }
  ::close(ends[1]);
  Ending ending;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof(buffer))) > 0;) {
    ending.text.append(buffer, static_cast<size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status)) ending.exit_code = WEXITSTATUS(status);
  ending.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return ending;
}

void wait_long() {
  for (int i = 0; i < 100; ++i) ::usleep(100'000);
}

TEST(Interrupt, TheFirstSignalOnlyAsks) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const Ending ending = run_in_child([&] {
      const InterruptGuard guard(25);
      if (guard.requested()) return 1;
      ::raise(signal);
      return guard.requested() ? kInterruptedExit : 2;
    });
    EXPECT_EQ(ending.exit_code, 130);
    EXPECT_THAT(ending.text, HasSubstr("finishing this step"));
  }
}

TEST(Interrupt, TheSecondEndsAtOnceAndNamesTheSnapshot) {
  const Ending ending = run_in_child([] {
    InterruptGuard guard(25);
    guard.set_farewell("the last snapshot is step-10");
    guard.set_farewell("the last snapshot is step-20");
    ::raise(SIGTERM);
    ::usleep(1'100'000);
    ::raise(SIGINT);
    return 3;
  });
  EXPECT_EQ(ending.exit_code, 130);
  EXPECT_THAT(ending.text, HasSubstr("second signal"));
  EXPECT_THAT(ending.text, HasSubstr("leash: the last snapshot is step-20\n"));
}

// `timeout` signals its child and then the group; a launcher passes Ctrl-C on as SIGTERM, behind
// which it will kill.
TEST(Interrupt, WhatComesWithinASecondIsOneRequest) {
  const Ending ending = run_in_child([] {
    const InterruptGuard guard(1);
    for (const int signal : {SIGINT, SIGTERM, SIGTERM, SIGHUP}) ::raise(signal);
    ::usleep(300'000);
    ::raise(SIGINT);
    if (!guard.requested()) return 3;
    wait_long();
    return 4;
  });
  EXPECT_EQ(ending.exit_code, 130);
  EXPECT_THAT(ending.text, HasSubstr("grace_seconds are over"));
  EXPECT_THAT(ending.text, Not(HasSubstr("second signal")));
  EXPECT_EQ(ending.text.find("finishing"), ending.text.rfind("finishing"));
}

TEST(Interrupt, UnderNohupAHangupStaysIgnored) {
  const Ending ending = run_in_child([] {
    ::signal(SIGHUP, SIG_IGN);
    const InterruptGuard guard(25);
    ::raise(SIGHUP);
    return guard.requested() ? 1 : 0;
  });
  EXPECT_EQ(ending.exit_code, 0) << ending.text;
}

TEST(Interrupt, WritingToNobodyIsAnError) {
  const Ending ending = run_in_child([] {
    ignore_write_signals();
    int ends[2];
    if (::pipe(ends) != 0) return 1;
    ::close(ends[0]);
    if (::write(ends[1], "x", 1) != -1 || errno != EPIPE) return 2;
    ::raise(SIGXFSZ);
    return 0;
  });
  EXPECT_EQ(ending.exit_code, 0);
}

TEST(Interrupt, TheGraceTimeEnds) {
  const Ending ending = run_in_child([] {
    const InterruptGuard guard(1);
    ::raise(SIGTERM);
    wait_long();
    return 3;
  });
  EXPECT_EQ(ending.exit_code, 130);
  EXPECT_THAT(ending.text, HasSubstr("grace_seconds are over"));
  EXPECT_THAT(ending.text, HasSubstr("no snapshot of this run yet"));
  EXPECT_GE(ending.seconds, 0.9);
  EXPECT_LT(ending.seconds, 8);
}

// The user at the keyboard may have a step that takes longer, and can ask twice.
TEST(Interrupt, AfterSigintTheStepTakesAsLongAsItTakes) {
  const Ending ending = run_in_child([] {
    const InterruptGuard guard(1);
    ::raise(SIGINT);
    ::usleep(1'500'000);
    return guard.requested() ? 3 : 4;
  });
  EXPECT_EQ(ending.exit_code, 3);
  EXPECT_GE(ending.seconds, 1.4);
}

TEST(Interrupt, WithoutGraceTheFirstEnds) {
  const Ending ending = run_in_child([] {
    const InterruptGuard guard(0);
    ::raise(SIGINT);
    return 3;
  });
  EXPECT_EQ(ending.exit_code, 130);
}

TEST(Interrupt, TheGuardGivesBackWhatWasThere) {
  const Ending ending = run_in_child([] {
    ::signal(SIGTERM, SIG_IGN);
    {
      const InterruptGuard guard(1);
      ::raise(SIGTERM);
    }
    ::usleep(1'200'000);  // the alarm was taken back
    ::raise(SIGTERM);     // ignored again
    const InterruptGuard again(25);
    return again.requested() ? 1 : 0;
  });
  EXPECT_EQ(ending.exit_code, 0) << ending.text;
}

TEST(Interrupt, OneGuardAtATimeAndLongTextsAreCut) {
  InterruptGuard guard(25);
  EXPECT_THROW(InterruptGuard(25), std::logic_error);
  guard.set_farewell(std::string(5000, 'x'));
  EXPECT_FALSE(guard.requested());
}

}  // namespace
}  // namespace leash
