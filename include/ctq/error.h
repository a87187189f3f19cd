// The one exception of the program. Under this name base/error.h itself is installed.
#pragma once

#include "base/error.h"
