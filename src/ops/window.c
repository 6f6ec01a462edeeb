/* Geometry of sliding windows. */
#include "ops/picture.h"

td_window td_window_square(size_t size, size_t stride, size_t padding)
{
    return (td_window){size, size, stride, padding, padding, padding, padding};
}

static size_t same_padding(size_t size, size_t stride, size_t length)
{
    size_t covered = length % stride ? length % stride : stride;
    return size > covered ? size - covered : 0;
}

td_window td_window_same(size_t size, size_t stride, td_grid grid)
{
    size_t vertical = same_padding(size, stride, grid.height), horizontal = same_padding(size, stride, grid.width);
    return (td_window){size, size, stride, vertical / 2, horizontal / 2, vertical - vertical / 2, horizontal - horizontal / 2};
}

bool td_window_output(td_window window, td_grid grid, td_grid *ret_grid)
{
    size_t height = grid.height + window.top + window.bottom, width = grid.width + window.left + window.right;
    if (!window.stride || !window.height || !window.width || height < window.height || width < window.width)
        return false;
    *ret_grid = (td_grid){grid.count, (height - window.height) / window.stride + 1, (width - window.width) / window.stride + 1};
    return true;
}
