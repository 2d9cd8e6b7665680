mod blocks;
mod crash;
mod meanwhile;
mod memory;
mod model;
mod names;
mod rooms;
