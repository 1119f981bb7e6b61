CREATE TABLE orders (id bigint PRIMARY KEY);
SELECT pg_sleep(0.3);
INSERT INTO orders VALUES (1);
