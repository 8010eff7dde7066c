// Root-mean-square norms of rows. Each row is computed by itself and in one order: its result is the same in every company.
#include <cmath>

#include "vector.h"

namespace {

constexpr int CHAINS = 4;  // sums that do not wait for each other

inline float mean_square(const float* x, int64_t width) {
  Vector sums[CHAINS] = {};
  int64_t i = 0;
  for (; i + CHAINS * LANES <= width; i += CHAINS * LANES)
    for (int c = 0; c < CHAINS; c++) {
      const Vector v = load(x + i + c * LANES);
      sums[c] += v * v;
    }
  float total = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < width; i++) total += x[i] * x[i];
  return total / width;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void thespis_rms_norm(const float* x, const float* weight, float* out,
                                                                        int64_t rows, int64_t width, float eps) {
  for (int64_t row = 0; row < rows; row++, x += width, out += width) {
    const float scale = 1 / std::sqrt(mean_square(x, width) + eps);
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) store(out + i, load(x + i) * splat(scale) * load(weight + i));
    for (; i < width; i++) out[i] = x[i] * scale * weight[i];
  }
}
