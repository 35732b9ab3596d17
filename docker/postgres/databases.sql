-- Beside `catalog`, which the image makes: the custody ledger and what people decide. Liuhen makes its own tables.
CREATE DATABASE ledger;
CREATE DATABASE office;
