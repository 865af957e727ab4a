#include "histogram.h"

static uint32_t cell_of(uint64_t value)
{
    uint32_t bits = 63 - (uint32_t)__builtin_clzll(value | 1);
    uint32_t shift = bits > HISTOGRAM_SUB_BITS ? bits - HISTOGRAM_SUB_BITS : 0;
    uint64_t cell = ((uint64_t)shift << HISTOGRAM_SUB_BITS) + (value >> shift);

    return cell < HISTOGRAM_CELLS ? (uint32_t)cell : HISTOGRAM_CELLS - 1;
}

/* The middle of a cell: the inverse of cell_of(), up to the width of the cell. */
static uint64_t value_of(uint32_t cell)
{
    uint32_t shift = cell >> HISTOGRAM_SUB_BITS;
    uint64_t low = cell;

    if (shift > 1) {
        shift--; /* cells from 256 on hold values of 256 to 511 shifted, so shift counts from 1 */
        low = cell - ((uint64_t)shift << HISTOGRAM_SUB_BITS);
        return (low << shift) + ((UINT64_C(1) << shift) >> 1);
    }
    return low;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->cells[cell_of(value)]++;
    histogram->total++;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

uint64_t histogram_percentile(const struct histogram *histogram, double fraction)
{
    uint64_t wanted = (uint64_t)(fraction * (double)histogram->total);
    uint64_t seen = 0;

    for (uint32_t cell = 0; cell < HISTOGRAM_CELLS; cell++) {
        seen += histogram->cells[cell];
        if (seen > wanted) {
            uint64_t value = value_of(cell);

            return value < histogram->max ? value : histogram->max;
        }
    }
    return histogram->max;
}
