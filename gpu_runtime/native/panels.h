// What the products share: outputs in panels of 16, and how rows and panels are handed out.
#pragma once
#include "vector.h"

namespace {

constexpr int PANEL = 16;
constexpr int PARTS = PANEL / LANES;        // vectors of a panel's outputs
constexpr int ROWS = LANES == 16 ? 12 : 6;  // that share one load of a weight: their sums fill the registers
constexpr int TASKS = 8;                    // for each thread: of one that is held up, the others take what is left

}  // namespace
