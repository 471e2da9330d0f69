// Who judges which pair next, alone and at once.
#include "experiments/label/session.h"

#include <algorithm>
#include <set>
#include <thread>

#include "experiments/label/summary.h"
#include "tests/experiments/label/label_files.h"

namespace leash::label::testing {
namespace {

class LabelSessionTest : public ::testing::Test {
 protected:
  LabelSession& start(std::vector<std::string> users, int pairs, double shared = 1.0,
                      int64_t most = INT64_MAX) {
    folder_.emplace(scratch_ / "labels");
    folder_->add(numbered_pairs(pairs));
    session_.emplace(
        *folder_,
        SessionOptions{.users = std::move(users), .seed = 3, .shared = shared, .most = most});
    return *session_;
  }

  const ScratchFolder scratch_;
  std::optional<LabelFolder> folder_;
  std::optional<LabelSession> session_;
};

TEST_F(LabelSessionTest, OffersEveryPairOnce) {
  LabelSession& session = start({"anna"}, 6);
  std::set<std::string> seen;
  View view = session.view("anna");
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(view.offer, Offer::pair);
    EXPECT_EQ(session.view("anna").pair, view.pair);  // looking changes nothing
    EXPECT_EQ(view.progress.judged + view.progress.skipped, i);
    EXPECT_EQ(view.progress.total(), 6);
    EXPECT_TRUE(seen.insert(view.pair).second);
    view = session.judge("anna", view.pair, i == 2 ? Verdict::skip : Verdict::left, "");
  }
  EXPECT_EQ(view.offer, Offer::done);
  EXPECT_EQ(view.progress.judged, 5);
  EXPECT_EQ(view.progress.skipped, 1);
  EXPECT_TRUE(view.can_undo);
}

TEST_F(LabelSessionTest, SidesAreRandomAndStay) {
  LabelSession& session = start({"anna", "ben"}, 200);
  const auto longer_is_left = [&](const std::string& user) {
    std::vector<bool> sides;
    for (View view = session.view(user); view.offer == Offer::pair;) {
      sides.push_back(shown_text(view.left).size() > shown_text(view.right).size());
      view = session.judge(user, view.pair, Verdict::tie, "");
    }
    return sides;
  };
  const std::vector<bool> anna = longer_is_left("anna"), ben = longer_is_left("ben");
  ASSERT_EQ(anna.size(), 200u);
  EXPECT_NEAR(std::ranges::count(anna, true), 100, 35);
  EXPECT_NEAR(std::ranges::count(ben, true), 100, 35);
  EXPECT_NE(anna, ben);
}

TEST_F(LabelSessionTest, UndoBringsThePairBackAsItStood) {
  LabelSession& session = start({"anna"}, 3);
  const View first = session.view("anna");
  EXPECT_THROW(session.undo("anna", ""), StalePair);
  const View second = session.judge("anna", first.pair, Verdict::left, "because");
  EXPECT_THROW(session.undo("anna", second.pair), StalePair);
  const View again = session.undo("anna", first.pair);
  EXPECT_EQ(again.pair, first.pair);
  EXPECT_EQ(again.left, first.left);
  EXPECT_EQ(again.comment, "because");
  EXPECT_FALSE(again.can_undo);
  EXPECT_TRUE(rows_of(folder_->preferences_file()).empty());
  const View after = session.judge("anna", first.pair, Verdict::right, "");
  EXPECT_EQ(after.pair, second.pair);
  ASSERT_EQ(rows_of(folder_->preferences_file()).size(), 1u);
  EXPECT_EQ(rows_of(folder_->preferences_file())[0]["chosen"], first.right);
}

TEST_F(LabelSessionTest, APairThatIsNotShownIsRefused) {
  LabelSession& session = start({"anna"}, 3);
  const View first = session.view("anna");
  session.judge("anna", first.pair, Verdict::left, "");
  EXPECT_THROW(session.judge("anna", first.pair, Verdict::right, ""), StalePair);  // twice
  EXPECT_THROW(session.judge("anna", "", Verdict::right, ""), StalePair);
  EXPECT_THROW(session.view("nobody"), std::out_of_range);
  EXPECT_EQ(rows_of(scratch_ / "labels/judgements.jsonl").size(), 1u);
}

TEST_F(LabelSessionTest, WhatIsNotSharedGoesToOnePerson) {
  LabelSession& session = start({"anna", "ben"}, 100, 0.3);
  std::map<std::string, int> judged;
  bool anna_left = true, ben_left = true;
  while (anna_left || ben_left) {
    for (const std::string user : {"anna", "ben"}) {
      const View view = session.view(user);
      (user == "anna" ? anna_left : ben_left) = view.offer == Offer::pair;
      if (view.offer != Offer::pair) continue;
      ++judged[view.pair];
      session.judge(user, view.pair, Verdict::left, "");
    }
  }
  EXPECT_EQ(judged.size(), 100u);
  const auto twice = std::ranges::count_if(judged, [](const auto& one) { return one.second == 2; });
  EXPECT_NEAR(twice, 30, 15);
  EXPECT_TRUE(std::ranges::all_of(judged, [](const auto& one) { return one.second <= 2; }));
}

TEST_F(LabelSessionTest, ASkippedPairGoesToSomebodyElse) {
  LabelSession& session = start({"anna", "ben"}, 1, 0.0);
  const View anna = session.view("anna");
  session.judge("anna", anna.pair, Verdict::skip, "");
  EXPECT_EQ(session.view("ben").pair, anna.pair);
}

TEST_F(LabelSessionTest, WaitsForPairsThatAreExpected) {
  LabelSession& session = start({"anna"}, 0);
  session.expect(2);
  EXPECT_EQ(session.view("anna").offer, Offer::waiting);
  EXPECT_EQ(session.view("anna").progress.total(), 2);
  const std::vector<LabelPair> pairs = numbered_pairs(2);
  session.add({pairs[0]}, 1);
  const View view = session.view("anna");
  ASSERT_EQ(view.offer, Offer::pair);
  EXPECT_EQ(view.progress.total(), 2);
  EXPECT_EQ(session.judge("anna", view.pair, Verdict::tie, "").offer, Offer::waiting);
  session.add({}, 0);  // the second one's answers were equal
  EXPECT_EQ(session.view("anna").offer, Offer::done);
  session.expect(1);
  session.fail("no memory");
  EXPECT_EQ(session.view("anna").offer, Offer::failed);
  EXPECT_EQ(session.view("anna").failure, "no memory");
}

TEST_F(LabelSessionTest, OffersThePrioritisedPairsFirst) {
  LabelSession& session = start({"anna"}, 4);
  const std::vector<LabelPair> pairs = numbered_pairs(4);
  const std::string shown = session.view("anna").pair;
  EXPECT_EQ(shown, pairs[0].id);
  session.prioritise({{pairs[2].id, -0.1}, {pairs[1].id, -2.0}});
  EXPECT_EQ(session.view("anna").pair, shown);  // what is before somebody's eyes stays
  EXPECT_EQ(session.judge("anna", shown, Verdict::left, "").pair, pairs[2].id);
  EXPECT_EQ(session.judge("anna", pairs[2].id, Verdict::left, "").pair, pairs[1].id);
  EXPECT_EQ(session.judge("anna", pairs[1].id, Verdict::left, "").pair, pairs[3].id);
  EXPECT_EQ(session.open_pairs(10).size(), 1u);
}

TEST_F(LabelSessionTest, OffersNoMoreThanAskedFor) {
  LabelSession& session = start({"anna"}, 5, 1.0, 2);
  EXPECT_EQ(session.view("anna").progress.total(), 2);
  for (int i = 0; i < 2; ++i) {
    session.judge("anna", session.view("anna").pair, Verdict::left, "");
  }
  EXPECT_EQ(session.view("anna").offer, Offer::done);
}

TEST_F(LabelSessionTest, EndsWhenAllAreDone) {
  LabelSession& session = start({"anna", "ben"}, 1);
  session.finish("anna");
  EXPECT_FALSE(session.over());
  session.finish("ben");
  EXPECT_TRUE(session.over());
}

TEST_F(LabelSessionTest, SummaryCountsSidesAndLengths) {
  LabelSession& session = start({"anna", "ben"}, 40);
  for (const std::string user : {"anna", "ben"}) {
    for (View view = session.view(user); view.offer == Offer::pair;) {
      const bool left_longer = shown_text(view.left).size() > shown_text(view.right).size();
      // anna takes the longer one, ben the left one.
      const bool left = user == "ben" || left_longer;
      view = session.judge(user, view.pair, left ? Verdict::left : Verdict::right, "c");
    }
  }
  const LabelSummary summary = summarise_state(session.state(), 1);
  EXPECT_EQ(summary.pairs, 40);
  EXPECT_EQ(summary.shared, 40);
  ASSERT_EQ(summary.people.size(), 2u);
  EXPECT_EQ(summary.people[0].longer.mean, 1.0);
  EXPECT_LT(summary.people[0].left.mean, 0.8);
  EXPECT_EQ(summary.people[1].left.mean, 1.0);
  EXPECT_EQ(summary.people[1].left.n, 40);
  EXPECT_EQ(summary.people[1].comments, 40);
  ASSERT_EQ(summary.cohen.size(), 1u);
  EXPECT_EQ(summary.cohen[0].cohen.items, 40);
  const Json json = summary_json(summary);
  EXPECT_EQ(json["people"][0]["user"], "anna");
  EXPECT_TRUE(json["krippendorff_alpha"]["ci95"].is_array());
}

// One thread makes pairs while three people judge, look and take back: nothing is lost, nothing
// judged twice.
TEST(ThreadsLabel, SamplingAndJudgingAtOnce) {
  const ScratchFolder scratch;
  constexpr int kPairs = 60;
  LabelFolder folder(scratch / "labels");
  const std::vector<std::string> users = {"anna", "ben", "cleo"};
  LabelSession session(folder, {.users = users, .seed = 1, .shared = 0.5});
  session.expect(kPairs);
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    const std::vector<LabelPair> pairs = numbered_pairs(kPairs);
    for (int i = 0; i < kPairs; ++i) {
      if (session.wait_until_wanted(3) == 0) return;
      session.add({pairs[static_cast<size_t>(i)]}, kPairs - i - 1);
    }
  });
  threads.emplace_back([&] {
    for (int round = 0; session.wait_until_judged(10 * round); ++round) {
      std::unordered_map<std::string, double> priorities;
      for (const LabelPair& pair : session.open_pairs(100)) {
        priorities[pair.id] = static_cast<double>(text_hash(pair.id) % 100);
      }
      session.prioritise(std::move(priorities));
    }
  });
  std::vector<std::thread> people;
  for (const std::string& user : users) {
    people.emplace_back([&session, user] {
      int64_t done = 0;
      for (View view = session.view(user); view.offer != Offer::done;) {
        if (view.offer == Offer::waiting) {
          view = session.view_or_wait(user, 50);
          continue;
        }
        view = session.judge(user, view.pair, Verdict::left, "");
        if (++done % 7 == 0) view = session.undo(user, "");
      }
      session.finish(user);
    });
  }
  for (std::thread& person : people) person.join();
  EXPECT_TRUE(session.over());
  session.stop();
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> judged;
  for (const Json& row : rows_of(folder.preferences_file())) {
    judged.insert(row["judgement"]["pair"].get<std::string>());
  }
  EXPECT_EQ(judged.size(), static_cast<size_t>(kPairs));
  EXPECT_EQ(rows_of(folder.preferences_file()).size(), session.state().judgements.size());
}

}  // namespace
}  // namespace leash::label::testing
