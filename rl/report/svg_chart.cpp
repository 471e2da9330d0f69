// Line charts as SVG text: scales, axes, bands, lines, and a value to read under the pointer.
#include "rl/report/svg_chart.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <optional>

#include "rl/report/html.h"

namespace leash {
namespace {

constexpr size_t kMostPoints = 600;  // of a drawn line
constexpr size_t kMostHovers = 150;  // points that tell their value
constexpr size_t kSmoothFrom = 30;   // shorter lines are drawn as they are
constexpr size_t kColours = 6;       // in chart_css
constexpr double kLargest = 1e150;   // beyond it, differences would overflow

bool drawable(double value) { return std::isfinite(value) && std::abs(value) < kLargest; }

// The range of the values of an axis.
struct Extent {
  double low = 0;
  double high = 0;
  bool empty = true;

  void add(double value) {
    if (!drawable(value)) return;
    low = empty ? value : std::min(low, value);
    high = empty ? value : std::max(high, value);
    empty = false;
  }
  // A single value, or one with rounding errors, gets some room around it.
  void widen() {
    const double largest = std::max(std::abs(low), std::abs(high));
    if (high - low > std::max(1e-9 * largest, 1e-200)) return;
    const double room = largest < 1e-200 ? 1 : largest * 0.1;
    low -= room;
    high += room;
  }
};

// A data coordinate to a pixel coordinate.
struct Scale {
  double low, high, from, to;
  double operator()(double value) const {
    return from + (value - low) / (high - low) * (to - from);
  }
};

struct Frame {
  double left, right, top, bottom;
  Scale x{}, y{};
  std::vector<double> x_ticks{}, y_ticks{};
};

size_t points_of(const ChartSeries& series) { return std::min(series.x.size(), series.y.size()); }

bool has_band(const ChartSeries& series) {
  return !series.y.empty() && series.low.size() == series.y.size() &&
         series.high.size() == series.y.size();
}

// Short, with whole numbers (steps) in full, and without a "-0".
std::string number_text(double value) {
  if (value == std::round(value) && std::abs(value) < 1e9)
    return fmt::format("{:.0f}", value + 0.0);
  return fmt::format("{:.4g}", value);
}

Frame make_frame(const LineChart& chart, double top) {
  Extent x, y;
  if (chart.from_zero) y.add(0);
  for (const ChartSeries& series : chart.series) {
    for (size_t i = 0; i < points_of(series); ++i) {
      if (!drawable(series.y[i])) continue;
      x.add(series.x[i]);
      y.add(series.y[i]);
      if (!has_band(series)) continue;
      y.add(series.low[i]);
      y.add(series.high[i]);
    }
  }
  const bool single = x.low == x.high;
  x.widen();
  y.widen();
  Frame frame{.left = 56, .right = chart.width - 14.0, .top = top, .bottom = chart.height - 36.0};
  frame.x_ticks = single ? std::vector{(x.low + x.high) / 2} : chart_ticks(x.low, x.high, 6);
  std::erase_if(frame.x_ticks, [&](double tick) { return tick < x.low || tick > x.high; });
  frame.y_ticks = chart_ticks(y.low, y.high, 5);
  // The first and the last line of the grid are the edges of the picture; x stays as the data is.
  y.add(frame.y_ticks.front());
  y.add(frame.y_ticks.back());
  frame.x = {x.low, x.high, frame.left, frame.right};
  frame.y = {y.low, y.high, frame.bottom, frame.top};
  return frame;
}

// Which points are drawn: all, or of each bucket the lowest and the highest, so that peaks stay.
std::vector<size_t> thinned(const std::vector<double>& y, size_t count) {
  std::vector<size_t> kept;
  const size_t bucket = count <= kMostPoints ? 1 : (2 * count + kMostPoints - 1) / kMostPoints;
  for (size_t begin = 0; begin < count; begin += bucket) {
    const auto first = y.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = y.begin() + static_cast<std::ptrdiff_t>(std::min(begin + bucket, count));
    const auto [low, high] = std::minmax_element(
        first, last, [](double a, double b) { return drawable(a) && (!drawable(b) || a < b); });
    const auto a = static_cast<size_t>(low - y.begin()), b = static_cast<size_t>(high - y.begin());
    kept.push_back(std::min(a, b));
    if (a != b) kept.push_back(std::max(a, b));
  }
  return kept;
}

// The line through finite points; a gap begins a new piece. A point alone becomes a dot, because
// of the round line caps.
std::string path_data(const Frame& frame, const ChartSeries& series, const std::vector<double>& y) {
  std::string data;
  bool pen_down = false;
  for (const size_t i : thinned(y, points_of(series))) {
    const bool visible = drawable(series.x[i]) && drawable(y[i]);
    if (visible) {
      const char* command = pen_down ? "L" : "M";
      fmt::format_to(std::back_inserter(data), "{}{:.1f} {:.1f}", command, frame.x(series.x[i]),
                     frame.y(y[i]));
      if (!pen_down) data += "h0";
    }
    pen_down = visible;
  }
  return data;
}

// One closed shape for each stretch of finite bounds.
std::string band_data(const Frame& frame, const ChartSeries& series) {
  std::string data;
  std::vector<std::string> back;
  for (size_t i = 0; i <= points_of(series); ++i) {
    const bool visible = i < points_of(series) && drawable(series.x[i]) &&
                         drawable(series.low[i]) && drawable(series.high[i]);
    if (!visible) {
      for (; !back.empty(); back.pop_back()) data += back.back() + (back.size() == 1 ? "Z" : "");
      continue;
    }
    const double x = frame.x(series.x[i]);
    fmt::format_to(std::back_inserter(data), "{}{:.1f} {:.1f}", back.empty() ? "M" : "L", x,
                   frame.y(series.high[i]));
    back.push_back(fmt::format("L{:.1f} {:.1f}", x, frame.y(series.low[i])));
  }
  return data;
}

// An exponential moving average, unbiased from its start.
std::vector<double> moving_average(const std::vector<double>& y) {
  const double keep = 1 - 2 / (std::max(5.0, static_cast<double>(y.size()) / 12) + 1);
  std::vector<double> out(y.size());
  double sum = 0, weight = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    if (drawable(y[i])) {
      sum = keep * sum + (1 - keep) * y[i];
      weight = keep * weight + (1 - keep);
    }
    out[i] = drawable(y[i]) ? sum / weight : y[i];
  }
  return out;
}

void draw_grid(std::string& svg, const LineChart& chart, const Frame& frame) {
  for (const double tick : frame.y_ticks) {
    fmt::format_to(std::back_inserter(svg),
                   "<path class=\"grid\" d=\"M{0:.1f} {1:.1f}H{2:.1f}\"/>"
                   "<text class=\"tick\" x=\"{3:.1f}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}"
                   "</text>\n",
                   frame.left, frame.y(tick), frame.right, frame.left - 7, frame.y(tick) + 3.5,
                   number_text(tick));
  }
  for (const double tick : frame.x_ticks) {
    const std::string text = number_text(tick);
    const double half = 3.2 * static_cast<double>(text.size());  // stays inside the picture
    fmt::format_to(std::back_inserter(svg),
                   "<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}"
                   "</text>\n",
                   std::min(frame.x(tick), chart.width - 8 - half), frame.bottom + 16, text);
  }
  fmt::format_to(std::back_inserter(svg),
                 "<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
                 frame.right, frame.bottom + 30, html_escape(chart.x_label));
}

void draw_series(std::string& svg, const LineChart& chart, const Frame& frame, size_t index) {
  const ChartSeries& series = chart.series[index];
  const size_t colour = index % kColours, count = points_of(series);
  const auto path = [&](const char* kind, const std::string& data) {
    fmt::format_to(std::back_inserter(svg), "<path class=\"{} c{}\" d=\"{}\"/>\n", kind, colour,
                   data);
  };
  if (has_band(series)) path("band", band_data(frame, series));
  const bool smooth = chart.smooth && count >= kSmoothFrom;
  path(smooth ? "line faint" : "line", path_data(frame, series, series.y));
  if (smooth) path("line", path_data(frame, series, moving_average(series.y)));
  const size_t stride = (count + kMostHovers - 1) / kMostHovers;
  for (size_t i = 0; i < count; i += stride) {
    if (!drawable(series.x[i]) || !drawable(series.y[i])) continue;
    // A point between gaps has no line to be seen by.
    const bool alone =
        (i == 0 || !drawable(series.y[i - 1])) && (i + 1 == count || !drawable(series.y[i + 1]));
    std::string text =
        fmt::format("{} {}: {}", chart.x_label, number_text(series.x[i]), number_text(series.y[i]));
    if (chart.series.size() > 1) text = series.name + ", " + text;
    if (has_band(series)) {
      text += fmt::format(" ({} to {})", number_text(series.low[i]), number_text(series.high[i]));
    }
    fmt::format_to(std::back_inserter(svg),
                   "<circle class=\"dot{} c{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"><title>{}"
                   "</title></circle>\n",
                   alone ? " alone" : "", colour, frame.x(series.x[i]), frame.y(series.y[i]),
                   alone ? 3 : 5, html_escape(text));
  }
}

std::optional<double> last_value(const ChartSeries& series) {
  for (size_t i = points_of(series); i-- > 0;) {
    if (drawable(series.y[i])) return series.y[i];
  }
  return std::nullopt;
}

// Title, note and legend; returns where the plot may begin.
double draw_heading(std::string& svg, const LineChart& chart) {
  auto out = std::back_inserter(svg);
  fmt::format_to(out, "<text class=\"title\" x=\"14\" y=\"24\">{}</text>\n",
                 html_escape(chart.title));
  const auto last = chart.series.size() == 1 ? last_value(chart.series[0]) : std::nullopt;
  if (last) {
    fmt::format_to(out, "<text class=\"last\" x=\"{}\" y=\"24\" text-anchor=\"end\">{}</text>\n",
                   chart.width - 14, number_text(*last));
  }
  double y = 24;
  if (!chart.note.empty()) {
    y += 16;
    fmt::format_to(out, "<text class=\"tick\" x=\"14\" y=\"{}\">{}</text>\n", y,
                   html_escape(chart.note));
  }
  if (chart.series.size() > 1) {
    y += 18;
    double x = 14;
    for (size_t i = 0; i < chart.series.size(); ++i) {
      const std::string& name = chart.series[i].name;
      fmt::format_to(out,
                     "<path class=\"line c{}\" d=\"M{:.0f} {:.0f}h14\"/><text class=\"tick\" "
                     "x=\"{:.0f}\" y=\"{:.0f}\">{}</text>\n",
                     i % kColours, x, y - 4, x + 19, y, html_escape(name));
      x += 34 + 6.2 * static_cast<double>(name.size());
    }
  }
  return y + 16;
}

}  // namespace

std::vector<double> chart_ticks(double low, double high, int count) {
  if (!(high > low) || count < 1) return {low};
  const double raw = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double part = raw / power;
  const double step = power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  if (!std::isfinite(first) || !std::isfinite(last)) return {low};
  std::vector<double> ticks;
  for (int i = 0; i <= std::min(last - first, 2.0 * count + 2); ++i) {
    ticks.push_back((first + i) * step);
  }
  return ticks;
}

std::string svg_line_chart(const LineChart& chart) {
  std::string svg =
      fmt::format("<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n",
                  chart.width, chart.height, html_escape(chart.title));
  const double top = draw_heading(svg, chart);
  const bool any = std::any_of(chart.series.begin(), chart.series.end(),
                               [](const ChartSeries& s) { return last_value(s).has_value(); });
  if (any) {
    const Frame frame = make_frame(chart, top);
    draw_grid(svg, chart, frame);
    for (size_t i = 0; i < chart.series.size(); ++i) draw_series(svg, chart, frame, i);
  } else {
    fmt::format_to(std::back_inserter(svg),
                   "<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">no values</text>",
                   chart.width / 2, chart.height / 2);
  }
  return svg + "</svg>\n";
}

}  // namespace leash
