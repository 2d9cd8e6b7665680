mod blocks;
mod crash;
mod elsewhere;
mod meanwhile;
mod memory;
mod model;
mod names;
mod rooms;
