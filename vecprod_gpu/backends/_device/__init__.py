"""Host side of both GPU dialects: from arrays to kernel, grid and arguments.

How kernels are launched. All of it was measured on an H100 (compute capability 9.0; the kernels' headers
have the figures), and is what any other GPU gets. Where a parameter sets the order of a sum (*) it follows
from shape and dtype alone, and must never follow the device.

=============================================  ====================  =====================================
parameter                                      value                 where
=============================================  ====================  =====================================
threads of a block                             256                   ``launcher.THREADS``
most blocks of a grid-stride loop              65,535                ``max_blocks`` of a launcher
blocks of rows of a regression *               132 to 1,056          ``lanes.BLOCK_COUNTS``
lanes, chunks and models of a thread *         by columns            ``lanes.lane_cut``
blocks of rows of a sum of outer products *    528, or 792           ``moments.MOST_BLOCKS``
threads, stages and memory of its tiles *      by columns and types  ``moments.tile_constants``
problems of a block, where they are small *    by shape              ``small_moments.small_cut``
blocks that take many steps together           multiprocessors       ``steps.crews_of``
=============================================  ====================  =====================================
"""
