// Boost.JSON, whose Debian package has only a library of that system.
#include <boost/json/src.hpp>
