let let = 1 +
